//! Relays that are down, come back, refuse, or ask for authentication.

use crate::bench::{Bench, hash, is_unavailable, is_unknown, order, payment_id, preimage, wallet_at, within};
use crate::relay::{Mode, Relay};
use crate::service::Service;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tithe_lightning::{Payment, Wallet};
use tokio::net::TcpListener;

const SHORT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(30);

fn service() -> Arc<Service> {
    let service = Service::new();
    service.on_result("get_balance", json!({ "balance": 1 }));
    service.on_result("pay_invoice", json!({ "preimage": preimage().reveal(), "fees_paid": 1 }));
    service
}

/// The URL of a port that nobody listens on.
async fn dead_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("ws://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn without_any_relay_nothing_was_sent() {
    let service = service();
    let wallet = wallet_at(&service, &[dead_url().await], SHORT);
    assert!(is_unavailable(&within(wallet.balance()).await));
    let error = within(wallet.payment_send(&order())).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(matches!(error, tithe_lightning::WalletError::Unavailable(_)), "{error:?}");
    assert!(cause.contains("127.0.0.1:") && cause.contains("refused"), "{cause}");
}

#[tokio::test]
async fn one_relay_that_works_is_enough() {
    let service = service();
    let (good, mute) = (Relay::start(&service), Relay::start(&service));
    mute.set(Mode::NeverReady);
    let wallet = wallet_at(&service, &[dead_url().await, mute.url(), good.url()], LONG);
    within(wallet.balance()).await.unwrap();
    assert!(matches!(within(wallet.payment_send(&order())).await.unwrap(), Payment::Succeeded { .. }));
}

#[tokio::test]
async fn several_relays_deliver_one_request() {
    let service = service();
    let relays = [Relay::start(&service), Relay::start(&service)];
    let wallet = wallet_at(&service, &[relays[0].url(), relays[1].url()], LONG);
    within(wallet.balance()).await.unwrap();
    for relay in &relays {
        within(relay.connections(1)).await;
    }
    assert!(matches!(within(wallet.payment_send(&order())).await.unwrap(), Payment::Succeeded { .. }));
    assert_eq!(service.calls("pay_invoice").len(), 1);
}

#[tokio::test]
async fn a_relay_that_comes_back_is_used_again() {
    let bench = Bench::with(service(), |settings| settings.timeout = LONG);
    within(bench.wallet.balance()).await.unwrap();
    for _ in 0..3 {
        bench.relay.stop().await;
        let wallet = bench.wallet.clone();
        let waiting = tokio::spawn(async move { wallet.balance().await });
        bench.relay.restart();
        within(waiting).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_relay_that_was_down_from_the_start_is_used_when_it_comes() {
    let service = service();
    let relay = Relay::start(&service);
    relay.stop().await;
    let wallet = wallet_at(&service, &[relay.url()], SHORT);
    assert!(is_unavailable(&within(wallet.balance()).await));
    relay.restart();
    let wallet = within(async move {
        while wallet.balance().await.is_err() {}
        wallet
    })
    .await;
    assert!(matches!(within(wallet.payment_send(&order())).await.unwrap(), Payment::Succeeded { .. }));
}

#[tokio::test]
async fn a_request_is_handed_over_again_when_the_connection_breaks() {
    let bench = Bench::with(service(), |settings| settings.timeout = LONG);
    within(bench.wallet.balance()).await.unwrap();
    bench.relay.set(Mode::Breaks);
    let wallet = bench.wallet.clone();
    let waiting = tokio::spawn(async move { wallet.balance().await });
    within(bench.relay.connections(0)).await;
    bench.relay.set(Mode::Works);
    within(waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_payment_is_unknown_when_the_connection_breaks_for_good() {
    let bench = Bench::with(service(), |settings| settings.timeout = Duration::from_secs(3));
    within(bench.wallet.balance()).await.unwrap();
    // The look-up passes, the payment breaks the connection.
    let (relay, wallet) = (&bench.relay, bench.wallet.clone());
    bench.service.on("list_transactions", |_| crate::service::Answer::Nothing);
    let paying = tokio::spawn(async move { wallet.payment_send(&order()).await });
    within(bench.service.called("list_transactions")).await;
    relay.set(Mode::Breaks);
    let call = &bench.service.calls("list_transactions")[0];
    let text = json!({ "result_type": "list_transactions", "result": { "transactions": [] } }).to_string();
    bench.service.publish(call.response(&bench.service.keys, &bench.service.encrypt(call, &text)));
    within(relay.connections(0)).await;
    relay.stop().await;
    assert!(is_unknown(&within(paying).await.unwrap()));
    assert!(bench.service.calls("pay_invoice").is_empty());
}

#[tokio::test]
async fn a_relay_that_refuses_the_request_has_not_passed_it_on() {
    let service = service();
    let relay = Relay::start(&service);
    let wallet = wallet_at(&service, &[relay.url()], LONG);
    relay.set(Mode::Rejects("blocked: you are not on the list"));
    let error = within(wallet.balance()).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("not on the list"), "{cause}");
    assert!(is_unavailable(&within(wallet.payment_send(&order())).await));
    assert!(service.calls("pay_invoice").is_empty());
}

#[tokio::test]
async fn a_payment_that_a_relay_refuses_was_not_made_unless_the_reason_leaves_a_doubt() {
    for (reason, sure) in [("rate-limited: slow down", true), ("error: disk full", false), ("hm", false)] {
        let bench = Bench::with(service(), |settings| settings.timeout = Duration::from_secs(3));
        within(bench.wallet.balance()).await.unwrap();
        let wallet = bench.wallet.clone();
        bench.service.on("list_transactions", |_| crate::service::Answer::Nothing);
        let paying = tokio::spawn(async move { wallet.payment_send(&order()).await });
        within(bench.service.called("list_transactions")).await;
        bench.relay.set(Mode::Rejects(reason));
        let call = &bench.service.calls("list_transactions")[0];
        let text =
            json!({ "result_type": "list_transactions", "result": { "transactions": [] } }).to_string();
        bench.service.publish(call.response(&bench.service.keys, &bench.service.encrypt(call, &text)));
        let result = within(paying).await.unwrap();
        assert_eq!((is_unavailable(&result), is_unknown(&result)), (sure, !sure), "{reason}: {result:?}");

        bench.relay.set(Mode::Works);
        bench.service.on_result("list_transactions", json!({ "transactions": [] }));
        let status = within(bench.wallet.payment_status(payment_id(), hash())).await.unwrap();
        assert_eq!(status, if sure { None } else { Some(Payment::InFlight) }, "{reason}");
    }
}

#[tokio::test]
async fn a_relay_that_asks_who_we_are_is_told() {
    let service = service();
    let relay = Relay::start(&service);
    relay.set(Mode::AsksWho);
    let wallet = wallet_at(&service, &[relay.url()], LONG);
    within(wallet.balance()).await.unwrap();
    assert!(matches!(within(wallet.payment_send(&order())).await.unwrap(), Payment::Succeeded { .. }));
}
