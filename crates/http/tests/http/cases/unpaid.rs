//! Requests that a session's balance does not pay for, and the invoice that they are offered.

use crate::app::{AiSession, Options, TestApp, Wire};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tithe_engine::Settings;
use tithe_wallet_sim::{Fault, Operation};

/// A request that costs more than 100 sats.
fn dear(wire: Wire) -> Value {
    wire.body(&"word ".repeat(50_000), false)
}

/// What a refused request says.
async fn refused_with(session: &AiSession<'_>, wire: Wire) -> Value {
    let answer = session.ask(wire, &dear(wire)).await;
    assert_eq!(answer.header("x-tithe-balance-msats"), session.balance().await.to_string());
    wire.refused(&answer, 402)["metadata"].clone()
}

/// What a refused request says of topping up.
async fn refused(session: &AiSession<'_>, wire: Wire) -> Value {
    refused_with(session, wire).await["topUp"].clone()
}

async fn top_up(session: &AiSession<'_>, app: &TestApp, sats: u64) -> crate::app::Answer {
    let request = app.request(Method::POST, &format!("/api/sessions/{}/topup", session.id));
    let request = request.header("Authorization", format!("Bearer {}", session.macaroon));
    app.send(request.body(json!({ "amountSats": sats }).to_string())).await
}

#[tokio::test]
async fn a_request_that_is_not_paid_for_is_offered_one_invoice_and_served_once_it_is_paid() {
    let app = TestApp::new();
    let session = app.ai_session(100).await;
    let first = refused(&session, Wire::Chat).await;
    let invoice = &first["invoice"];
    assert_eq!(invoice["amountSats"], first["amountSats"], "{first}");
    for wire in Wire::ALL {
        assert_eq!(refused(&session, wire).await["invoice"], *invoice);
    }
    let pending = session.get(&format!("/api/sessions/{}", session.id)).await.ok(200)["pendingTopup"].clone();
    assert_eq!(pending, *invoice);
    app.pay(invoice["paymentHash"].as_str().unwrap()).await;
    session.ask(Wire::Chat, &dear(Wire::Chat)).await.ok(200);
}

#[tokio::test]
async fn an_offer_is_never_less_than_a_top_up_can_be() {
    let app = TestApp::new();
    let session = app.ai_session(100).await;
    let refused = refused_with(&session, Wire::Chat).await;
    let (required, top_up) = (refused["requiredSats"].as_u64().unwrap(), &refused["topUp"]);
    assert!(required - 100 < 100, "less is lacking: {refused}");
    assert_eq!(
        (&top_up["amountSats"], &top_up["invoice"]["amountSats"]),
        (&json!(100), &json!(100)),
        "{top_up}"
    );
}

#[tokio::test]
async fn an_offer_makes_way_for_a_top_up_and_is_credited_all_the_same() {
    let app = TestApp::new();
    let session = app.ai_session(100).await;
    let offered = refused(&session, Wire::Chat).await["invoice"].clone();
    let asked = top_up(&session, &app, 5_000).await.ok(201)["pendingTopup"].clone();
    assert_ne!(asked["paymentHash"], offered["paymentHash"]);
    assert_eq!(refused(&session, Wire::Chat).await["invoice"], asked, "what was asked for is offered");
    let again = top_up(&session, &app, 6_000).await;
    again.is_problem(409, "top_up_pending");
    assert_eq!(again.json()["pendingTopup"], asked);
    for invoice in [&offered, &asked] {
        app.pay(invoice["paymentHash"].as_str().unwrap()).await;
    }
    let paid = offered["amountSats"].as_u64().unwrap();
    assert_eq!(session.balance().await, (100 + 5_000 + paid) * 1_000);
}

#[tokio::test]
async fn many_refusals_at_once_offer_one_invoice() {
    let app = TestApp::new();
    let session = app.ai_session(100).await;
    let asked = (0..12).map(|n| refused(&session, Wire::ALL[n % 3]));
    let offers = futures_util::future::join_all(asked).await;
    let mut hashes: Vec<_> =
        offers.iter().filter_map(|top_up| top_up["invoice"]["paymentHash"].as_str()).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 1, "{offers:?}");
}

#[tokio::test]
async fn without_a_wallet_a_refusal_says_how_to_top_up_and_offers_nothing() {
    let settings = Settings { wallet_timeout: Duration::from_millis(30), ..crate::app::settings() };
    let app = TestApp::with(Options { settings, ..Options::default() });
    let session = app.ai_session(100).await;
    for fault in [Fault::Fail, Fault::Delay(Duration::from_mins(5)), Fault::Delay(Duration::from_mins(5))] {
        app.wallet.faults().queue(Operation::InvoiceCreate, fault);
    }
    let top_up = refused(&session, Wire::Chat).await;
    assert_eq!((&top_up["invoice"], &top_up["method"]), (&Value::Null, &json!("POST")));
}

/// Whoever pays is not kept back by earlier refusals.
#[tokio::test]
async fn a_request_that_was_refused_often_is_served_when_it_is_paid_for() {
    let app = TestApp::new();
    let session = app.ai_session(100).await;
    let mut invoice = Value::Null;
    for _ in 0..5 {
        invoice = refused(&session, Wire::Chat).await["invoice"].clone();
    }
    app.pay(invoice["paymentHash"].as_str().unwrap()).await;
    session.ask(Wire::Chat, &dear(Wire::Chat)).await.ok(200);
}
