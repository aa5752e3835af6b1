use crate::bench::{Bench, foreign_invoice, fund, msats, order, request, settlement};
use std::time::Duration;
use tithe_lightning::{
    Bolt11, InvoiceStatus, Payment, PaymentHash, PaymentOrder, TestPayer, Wallet, WalletError,
};
use tithe_money::Msats;
use tithe_wallet_sim::{Fault, Operation, PaymentEnd, SimWallet};

/// From BOLT 11's own examples: on the main chain, and with an amount.
const COFFEE: &str = "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh";

fn reason(payment: Payment) -> String {
    match payment {
        Payment::Failed { reason } => reason,
        other => panic!("expected a failed payment, found {other:?}"),
    }
}

async fn status(wallet: &SimWallet, order: &PaymentOrder) -> Option<Payment> {
    wallet.payment_status(order.id, order.request.payment_hash()).await.unwrap()
}

#[tokio::test]
async fn a_payment_costs_its_amount_and_the_fee() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    fund(&wallet, 100).await;
    let order = order(1, &foreign_invoice(&bench, 1, 60).await);
    let Payment::Succeeded { fee, .. } = wallet.payment_send(&order).await.unwrap() else { panic!() };
    assert_eq!(fee, msats(1_000));
    assert_eq!(wallet.balance().await.unwrap(), msats(39_000));
}

#[tokio::test]
async fn the_same_id_pays_once_and_tells_the_same_outcome() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    fund(&wallet, 100).await;
    let sent = order(1, &foreign_invoice(&bench, 1, 30).await);
    let first = wallet.payment_send(&sent).await.unwrap();
    bench.clock.advance(Duration::from_mins(100));
    assert_eq!(wallet.payment_send(&sent).await.unwrap(), first);
    assert_eq!(status(&wallet, &sent).await, Some(first));
    assert_eq!(wallet.balance().await.unwrap(), msats(69_000));

    let failed = order(2, &foreign_invoice(&bench, 2, 500).await);
    let first = wallet.payment_send(&failed).await.unwrap();
    assert_eq!(reason(first.clone()), "the balance does not cover the amount and the fee");
    fund_more(&wallet).await;
    assert_eq!(wallet.payment_send(&failed).await.unwrap(), first);
    assert_eq!(status(&wallet, &failed).await, Some(first));
}

async fn fund_more(wallet: &SimWallet) {
    let invoice = wallet.invoice_create(&request(77, 1_000)).await.unwrap();
    wallet.pay(&invoice).await.unwrap();
}

#[tokio::test]
async fn a_payment_that_nobody_sent_is_unknown() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    fund(&wallet, 100).await;
    let order = order(1, &foreign_invoice(&bench, 1, 30).await);
    assert_eq!(status(&wallet, &order).await, None);
    wallet.payment_send(&order).await.unwrap();
    let other_hash = PaymentHash::from_bytes([1; 32]);
    assert_eq!(wallet.payment_status(order.id, other_hash).await.unwrap(), None);
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_payment_is_named() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    fund(&wallet, 100).await;
    let cases = [
        (100, msats(10_000), "the balance does not cover the amount and the fee"),
        (10, msats(999), "no route within the fee limit"),
        (10, Msats::ZERO, "no route within the fee limit"),
    ];
    for (id, (sats, max_fee, expected)) in (1..).zip(cases) {
        let invoice = foreign_invoice(&bench, id, sats).await;
        let order = PaymentOrder { max_fee, ..order(id, &invoice) };
        assert_eq!(reason(wallet.payment_send(&order).await.unwrap()), expected);
    }
    let invoice = foreign_invoice(&bench, 9, 10).await;
    bench.clock.advance(Duration::from_mins(10));
    let answer = wallet.payment_send(&order(9, &invoice)).await.unwrap();
    assert_eq!(reason(answer), "the invoice has expired");
    assert_eq!(wallet.balance().await.unwrap(), msats(100_000));
}

#[tokio::test]
async fn the_whole_balance_can_be_spent() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    fund(&wallet, 100).await;
    wallet.payment_send(&order(1, &foreign_invoice(&bench, 1, 99).await)).await.unwrap();
    assert_eq!(wallet.balance().await.unwrap(), Msats::ZERO);
}

#[tokio::test]
async fn an_invoice_is_not_paid_under_two_ids() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    fund(&wallet, 100).await;
    let invoice = foreign_invoice(&bench, 1, 10).await;

    // A failure does not count: another payment may try.
    let too_dear = PaymentOrder { max_fee: Msats::ZERO, ..order(1, &invoice) };
    reason(wallet.payment_send(&too_dear).await.unwrap());
    wallet.payment_send(&order(2, &invoice)).await.unwrap();
    let again = wallet.payment_send(&order(3, &invoice)).await.unwrap();
    assert_eq!(reason(again), "invoice already paid by another payment");
    assert_eq!(wallet.balance().await.unwrap(), msats(89_000));
}

#[tokio::test]
async fn orders_that_contradict_themselves_or_others_are_refused() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    fund(&wallet, 100).await;
    let invoice = foreign_invoice(&bench, 1, 10).await;
    wallet.payment_send(&order(1, &invoice)).await.unwrap();

    let coffee: Bolt11 = COFFEE.parse().unwrap();
    let cases = [
        PaymentOrder { amount: Some(msats(10_000)), ..order(2, &invoice) },
        order(1, &foreign_invoice(&bench, 2, 10).await),
        order(3, &coffee),
    ];
    for case in cases {
        let answer = wallet.payment_send(&case).await;
        assert!(matches!(answer, Err(WalletError::Refused(_))), "{answer:?}");
    }
    assert_eq!(wallet.balance().await.unwrap(), msats(89_000));
}

#[tokio::test]
async fn paying_an_own_invoice_settles_it() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    fund(&wallet, 100).await;
    let own = wallet.invoice_create(&request(1, 40)).await.unwrap();
    let Payment::Succeeded { preimage, .. } = wallet.payment_send(&order(1, &own)).await.unwrap() else {
        panic!()
    };
    assert_eq!(preimage.payment_hash(), own.payment_hash());
    assert_eq!(settlement(&wallet, &own).await.preimage, Some(preimage));
    assert_eq!(wallet.balance().await.unwrap(), msats(99_000));

    let paid = wallet.invoice_create(&request(2, 40)).await.unwrap();
    wallet.pay(&paid).await.unwrap();
    assert_eq!(reason(wallet.payment_send(&order(2, &paid)).await.unwrap()), "the invoice has been paid");

    let lapsed = wallet.invoice_create(&request(3, 40)).await.unwrap();
    wallet.expire(lapsed.payment_hash()).await.unwrap();
    assert_eq!(reason(wallet.payment_send(&order(3, &lapsed)).await.unwrap()), "the invoice has expired");
}

#[tokio::test]
async fn a_payment_under_way_cannot_be_spent_twice_and_ends_once() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    fund(&wallet, 100).await;
    let arrives = order(1, &foreign_invoice(&bench, 1, 50).await);
    let fails = order(2, &foreign_invoice(&bench, 2, 40).await);
    for order in [&arrives, &fails] {
        wallet.faults().queue(Operation::PaymentSend, Fault::LeaveInFlight);
        assert_eq!(wallet.payment_send(order).await.unwrap(), Payment::InFlight);
        assert_eq!(wallet.payment_send(order).await.unwrap(), Payment::InFlight);
    }
    assert_eq!(wallet.balance().await.unwrap(), msats(100_000));
    let other = wallet.payment_send(&order(3, &foreign_invoice(&bench, 3, 40).await)).await.unwrap();
    assert_eq!(reason(other), "the balance does not cover the amount and the fee");
    let twin = wallet.payment_send(&order(4, &arrives.request)).await.unwrap();
    assert_eq!(reason(twin), "another payment of this invoice is under way");

    // Still under way after a restart.
    drop(wallet);
    let wallet = bench.open().await;
    assert_eq!(status(&wallet, &arrives).await, Some(Payment::InFlight));
    let done = wallet.payment_finish(arrives.id, PaymentEnd::Succeed).await.unwrap();
    assert!(matches!(done, Payment::Succeeded { .. }));
    assert_eq!(status(&wallet, &arrives).await, Some(done));
    reason(wallet.payment_finish(fails.id, PaymentEnd::Fail).await.unwrap());
    assert_eq!(wallet.balance().await.unwrap(), msats(49_000));
    for ended in [&arrives, &fails] {
        let again = wallet.payment_finish(ended.id, PaymentEnd::Succeed).await;
        assert!(matches!(again, Err(WalletError::Refused(_))));
    }
    // What failed has freed its money, and its invoice can be tried again.
    let retried = wallet.payment_send(&order(5, &fails.request)).await.unwrap();
    assert!(matches!(retried, Payment::Succeeded { .. }));
}

#[tokio::test]
async fn a_payment_under_way_fails_when_its_own_invoice_is_paid_by_another() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    fund(&wallet, 100).await;
    let own = wallet.invoice_create(&request(1, 40)).await.unwrap();
    wallet.faults().queue(Operation::PaymentSend, Fault::LeaveInFlight);
    wallet.payment_send(&order(1, &own)).await.unwrap();
    assert_eq!(wallet.invoice_status(own.payment_hash()).await.unwrap(), Some(InvoiceStatus::Pending));
    wallet.pay(&own).await.unwrap();
    let end = wallet.payment_finish(order(1, &own).id, PaymentEnd::Succeed).await.unwrap();
    assert_eq!(reason(end), "the invoice has been paid");
    assert_eq!(wallet.balance().await.unwrap(), msats(140_000));
}
