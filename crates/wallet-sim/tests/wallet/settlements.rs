use crate::bench::{Bench, fund, order, request, settlement};
use futures_util::{FutureExt, StreamExt};
use tithe_lightning::{TestPayer, Wallet};

#[tokio::test]
async fn a_settlement_is_told_at_once_to_every_listener() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    fund(&wallet, 100).await;
    let mut first = wallet.payments_received().await.unwrap();
    let mut second = wallet.payments_received().await.unwrap();
    let paid = wallet.invoice_create(&request(1, 21)).await.unwrap();
    let sent = wallet.invoice_create(&request(2, 22)).await.unwrap();
    wallet.pay(&paid).await.unwrap();
    wallet.payment_send(&order(1, &sent)).await.unwrap();
    for stream in [&mut first, &mut second] {
        for invoice in [&paid, &sent] {
            // Already there when the payer has its answer.
            let told = stream.next().now_or_never().flatten();
            assert_eq!(told, Some(settlement(&wallet, invoice).await));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn settlements_of_another_process_are_noticed_once() {
    let bench = Bench::new();
    let here = bench.open().await;
    let there = bench.open().await;
    fund(&there, 100).await;
    let mut stream = here.payments_received().await.unwrap();
    let paid = there.invoice_create(&request(1, 21)).await.unwrap();
    let sent = there.invoice_create(&request(2, 22)).await.unwrap();
    there.pay(&paid).await.unwrap();
    there.payment_send(&order(1, &sent)).await.unwrap();
    assert_eq!(stream.next().await, Some(settlement(&here, &paid).await));
    assert_eq!(stream.next().await, Some(settlement(&here, &sent).await));
    drop(here);
    assert_eq!(stream.next().await, None, "a stream outlived its wallet");
}

#[tokio::test]
async fn a_silent_wallet_leaves_the_payment_to_be_found_by_asking() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    let mut stream = wallet.payments_received().await.unwrap();
    let unheard = wallet.invoice_create(&request(1, 21)).await.unwrap();
    let heard = wallet.invoice_create(&request(2, 21)).await.unwrap();
    wallet.faults().silence_settlements(true);
    wallet.pay(&unheard).await.unwrap();
    wallet.faults().silence_settlements(false);
    wallet.pay(&heard).await.unwrap();
    assert_eq!(stream.next().await, Some(settlement(&wallet, &heard).await));
    settlement(&wallet, &unheard).await;
}
