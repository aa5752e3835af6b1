//! Receiving payments.

use crate::bench::{Bench, difference, msats, pay};
use futures_util::StreamExt as _;
use tithe_clock::{Clock as _, Timestamp};
use tithe_lightning::{
    Direction, InvoiceStatus, PaymentHash, ReceivedPayment, Wallet, WalletError, WalletPayment,
};
use tithe_money::Msats;
use tithe_test_lightning::{Keep, LightningPair};

async fn settled(bench: &Bench, hash: PaymentHash) -> ReceivedPayment {
    match bench.wallet.invoice_status(hash).await.unwrap() {
        Some(InvoiceStatus::Settled(payment)) => payment,
        other => panic!("{other:?}"),
    }
}

fn listed(payment: &ReceivedPayment) -> WalletPayment {
    WalletPayment {
        direction: Direction::Incoming,
        payment_hash: payment.payment_hash,
        amount: payment.amount,
        fee: payment.liquidity_fee,
        settled_at: payment.received_at,
        description: Some("a job".to_owned()),
    }
}

#[tokio::test]
async fn an_invoice_is_pending_until_it_is_paid_and_the_balance_rises_by_its_amount() {
    let pair = LightningPair::start().await.unwrap();
    let bench = Bench::over(pair.merchant()).await;
    let before = bench.wallet.balance().await.unwrap();
    assert_eq!(before, msats(4_000_000_000));
    let invoice = bench.invoice(1, 21).await;
    let hash = invoice.payment_hash();
    assert_eq!(bench.wallet.invoice_status(hash).await.unwrap(), Some(InvoiceStatus::Pending));
    pay(pair.customer(), &invoice).await;
    let payment = settled(&bench, hash).await;
    assert_eq!((payment.amount, payment.liquidity_fee), (msats(21_000), Msats::ZERO));
    assert_eq!(payment.preimage.unwrap().payment_hash(), hash);
    pair.settle().await.unwrap();
    assert_eq!(difference(bench.wallet.balance().await.unwrap(), before), msats(21_000));
    let unknown = PaymentHash::from_bytes([1; 32]);
    assert_eq!(bench.wallet.invoice_status(unknown).await.unwrap(), None);
}

#[tokio::test]
async fn payments_are_reported_as_they_arrive_until_the_connection_is_lost() {
    let pair = LightningPair::start().await.unwrap();
    let bench = Bench::over(pair.merchant()).await;
    let mut payments = bench.wallet.payments_received().await.unwrap();
    for number in 1..=3 {
        let invoice = bench.invoice(number, 100).await;
        pay(pair.customer(), &invoice).await;
        let payment = payments.next().await.unwrap();
        assert_eq!(payment, settled(&bench, invoice.payment_hash()).await);
    }
    bench.api.cut_websockets();
    assert_eq!(payments.next().await, None);
    let mut payments = bench.wallet.payments_received().await.unwrap();
    bench.api.close().await.unwrap();
    assert_eq!(payments.next().await, None);
    assert!(matches!(bench.wallet.payments_received().await, Err(WalletError::Unavailable(_))));
    bench.api.open().await.unwrap();
    let mut payments = bench.wallet.payments_received().await.unwrap();
    let invoice = bench.invoice(4, 100).await;
    pay(pair.customer(), &invoice).await;
    assert_eq!(payments.next().await.unwrap().payment_hash, invoice.payment_hash());
}

#[tokio::test]
async fn whatever_the_wallet_keeps_the_balance_rises_by_the_amount_less_the_liquidity_fee() {
    let pair = LightningPair::start().await.unwrap();
    let bench = Bench::over(pair.merchant()).await;
    let since = bench.clock.now();
    let mut payments = Vec::new();
    for (number, keep, fee) in [
        (1, Keep::Nothing, 0),
        (2, Keep::LiquidityFee(msats(15_803_000)), 15_803_000),
        (3, Keep::FeeCredit, 0),
        (4, Keep::Nothing, 0),
    ] {
        bench.api.keep(keep);
        let before = bench.wallet.balance().await.unwrap();
        let invoice = bench.invoice(number, 18_037).await;
        pay(pair.customer(), &invoice).await;
        pair.settle().await.unwrap();
        let payment = settled(&bench, invoice.payment_hash()).await;
        assert_eq!((payment.amount, payment.liquidity_fee), (msats(18_037_000), msats(fee)), "{keep:?}");
        let rise = difference(bench.wallet.balance().await.unwrap(), before);
        assert_eq!(rise, difference(payment.amount, payment.liquidity_fee), "{keep:?}");
        payments.push(listed(&payment));
    }
    let funds = bench.wallet.funds().await.unwrap();
    assert_eq!(funds.fee_credit.get(), 18_037, "can be spent on liquidity only");
    assert_eq!(funds.channels.to_msats(), bench.api.balance());
    let mut list = bench.wallet.payments_settled(since).await.unwrap();
    list.sort_unstable_by_key(|payment| payment.settled_at);
    assert_eq!(list, payments);
}

#[tokio::test]
async fn a_disconnected_channel_makes_the_balance_unavailable_and_not_zero() {
    let pair = LightningPair::start().await.unwrap();
    let bench = Bench::over(pair.merchant()).await;
    pair.merchant().disconnect(pair.customer()).await.unwrap();
    assert!(matches!(bench.wallet.balance().await, Err(WalletError::Unavailable(Some(_)))));
    pair.merchant().connect(pair.customer()).await.unwrap();
    assert_eq!(bench.wallet.balance().await.unwrap(), msats(4_000_000_000));
}

#[tokio::test]
async fn the_list_has_every_page() {
    let pair = LightningPair::start().await.unwrap();
    let bench = Bench::over(pair.merchant()).await;
    let mut hashes = Vec::new();
    for number in 0..205 {
        let invoice = bench.invoice(number, 1).await;
        pay(pair.customer(), &invoice).await;
        hashes.push(invoice.payment_hash());
    }
    // The payer has the preimage before the receiver has noted the payment.
    pair.settle().await.unwrap();
    hashes.sort_unstable();
    let list = bench.wallet.payments_settled(Timestamp::UNIX_EPOCH).await.unwrap();
    let mut listed: Vec<PaymentHash> = list.iter().map(|payment| payment.payment_hash).collect();
    listed.sort_unstable();
    assert_eq!(listed, hashes);
    let end = list.iter().map(|payment| payment.settled_at).max().unwrap();
    let since = bench.wallet.payments_settled(end).await.unwrap();
    assert!(!since.is_empty() && since.iter().all(|payment| payment.settled_at == end), "{since:?}");
}
