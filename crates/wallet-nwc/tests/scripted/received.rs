//! The stream of received payments.

use crate::bench::{Bench, client, hash, is_unavailable, msats, preimage, wallet_at, within};
use crate::relay::{Mode, Relay};
use crate::service::{Answer, Service};
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use std::time::Duration;
use tithe_lightning::{PaymentHash, Wallet};

fn record(payment_hash: &str, state: &str) -> Value {
    json!({ "type": "incoming", "state": state, "payment_hash": payment_hash, "amount": 21_000, "fees_paid": 5,
        "settled_at": 1_700_000_000 })
}

/// Every invoice was paid.
fn paid_service() -> std::sync::Arc<Service> {
    let service = Service::new();
    service.on("lookup_invoice", |call| {
        Answer::Result(record(call.params["payment_hash"].as_str().unwrap(), "settled"))
    });
    service
}

fn notify(service: &Service, kind: &str, payment_hash: PaymentHash) {
    for event in service.notifications(client(), kind, &payment_hash.to_string()) {
        service.publish(event);
    }
}

#[tokio::test]
async fn a_notified_payment_is_looked_up_and_reported_once() {
    let service = paid_service();
    let relays = [Relay::start(&service), Relay::start(&service)];
    let wallet = wallet_at(&service, &[relays[0].url(), relays[1].url()], Duration::from_secs(20));
    let mut received = within(wallet.payments_received()).await.unwrap();
    for relay in &relays {
        within(relay.connections(1)).await;
    }
    // Both relays deliver it, in both encryptions.
    notify(&service, "payment_received", hash());
    let payment = within(received.next()).await.unwrap();
    assert_eq!((payment.payment_hash, payment.amount), (hash(), msats(21_000)));
    assert_eq!((payment.liquidity_fee, payment.preimage), (msats(5), None));

    notify(&service, "payment_sent", preimage().payment_hash());
    let last = PaymentHash::from_bytes([4; 32]);
    notify(&service, "payment_received", last);
    assert_eq!(within(received.next()).await.unwrap().payment_hash, last);
    assert_eq!(service.calls("lookup_invoice").len(), 2);
    assert!(received.next().now_or_never().is_none());
}

#[tokio::test]
async fn a_notification_that_the_wallet_does_not_confirm_is_not_reported() {
    let bench = Bench::new(Service::new());
    let good = PaymentHash::from_bytes([4; 32]);
    bench.service.on("lookup_invoice", move |call| match call.params["payment_hash"].as_str() {
        Some(text) if text == good.to_string() => Answer::Result(record(text, "settled")),
        Some(text) => Answer::Result(record(text, "pending")),
        None => Answer::Error("NOT_FOUND"),
    });
    let mut received = within(bench.wallet.payments_received()).await.unwrap();
    notify(&bench.service, "payment_received", hash());
    notify(&bench.service, "payment_received", good);
    assert_eq!(within(received.next()).await.unwrap().payment_hash, good);
    assert_eq!(bench.service.calls("lookup_invoice").len(), 2);
}

#[tokio::test]
async fn a_wallet_of_the_old_encryption_notifies_too() {
    let info = vec![("encryption", "nip04"), ("notifications", "payment_sent payment_received")];
    let service = Service::with_info(Some(info));
    service.on("lookup_invoice", |call| {
        Answer::Result(record(call.params["payment_hash"].as_str().unwrap(), "settled"))
    });
    let bench = Bench::new(service);
    let mut received = within(bench.wallet.payments_received()).await.unwrap();
    notify(&bench.service, "payment_received", hash());
    assert_eq!(within(received.next()).await.unwrap().payment_hash, hash());
}

#[tokio::test]
async fn the_stream_ends_when_the_last_relay_is_gone_and_not_before() {
    let service = paid_service();
    let relays = [Relay::start(&service), Relay::start(&service)];
    let wallet = wallet_at(&service, &[relays[0].url(), relays[1].url()], Duration::from_secs(20));
    let mut received = within(wallet.payments_received()).await.unwrap();
    // Payments that both relays deliver show that both are connected.
    for relay in &relays {
        within(relay.connections(1)).await;
    }
    notify(&service, "payment_received", hash());
    within(received.next()).await.unwrap();
    relays[0].stop().await;
    let after = PaymentHash::from_bytes([4; 32]);
    notify(&service, "payment_received", after);
    assert_eq!(within(received.next()).await.unwrap().payment_hash, after);
    relays[1].stop().await;
    assert!(within(received.next()).await.is_none());

    relays[0].restart();
    let mut received = within(wallet.payments_received()).await.unwrap();
    notify(&service, "payment_received", hash());
    assert_eq!(within(received.next()).await.unwrap().payment_hash, hash());
}

#[tokio::test]
async fn a_short_outage_ends_the_stream_too() {
    let bench = Bench::new(paid_service());
    let mut received = within(bench.wallet.payments_received()).await.unwrap();
    bench.relay.stop().await;
    bench.relay.restart();
    bench.service.on_result("get_balance", json!({ "balance": 1 }));
    within(bench.wallet.balance()).await.unwrap();
    assert!(within(received.next()).await.is_none());
}

#[tokio::test]
async fn without_a_relay_there_is_no_stream() {
    let bench = Bench::with(paid_service(), |settings| settings.timeout = Duration::from_millis(500));
    bench.relay.stop().await;
    let result = within(bench.wallet.payments_received()).await.map(|_| ());
    assert!(is_unavailable(&result));
}

#[tokio::test]
async fn a_relay_that_shows_no_sign_of_life_is_given_up_within_a_minute() {
    let bench = Bench::new(paid_service());
    let mut received = within(bench.wallet.payments_received()).await.unwrap();
    bench.relay.set(Mode::Frozen);
    // The clock advances whenever everybody waits.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    assert!(received.next().await.is_none());
    let silence = began.elapsed();
    assert!(silence > Duration::from_secs(30) && silence < Duration::from_secs(61), "{silence:?}");
}
