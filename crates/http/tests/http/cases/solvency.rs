//! What is owed, beside what is held.

use super::refunds::{Owed, balance_sats};
use crate::app::{Options, TestApp, settings};
use crate::shapes::answers;
use reqwest::Method;
use serde_json::{Value, json};
use tithe_engine::Settings;
use tithe_money::Sats;
use tithe_wallet_sim::{Fault, Operation};

const PATH: &str = "/api/solvency";

/// Without money of the operator's own, all that is held was paid in.
fn without_funding() -> Settings {
    let mut settings = settings();
    settings.rules.free_tier.pool_initial = Sats::ZERO;
    settings
}

async fn check(app: &TestApp) -> Value {
    let engine = app.engine.clone();
    app.on_runtime(async move { engine.reconciliation.check().await.unwrap() }).await;
    let owed = json!({
        "bootstraps": "count", "jobs": "count", "pool": "count", "refunds": "count", "sessions": "count",
    });
    let shape = json!({ "checkedAt": "time", "heldSats": "count", "owedSats": owed });
    answers(&app.get(PATH).await, 200, &shape)
}

#[tokio::test]
async fn what_is_owed_and_held_is_what_was_paid_in() {
    let app = TestApp::with(Options {
        settings: without_funding(),
        started: false,
        manual_clock: true,
        ..Options::default()
    });
    let nothing = json!({ "bootstraps": 0, "jobs": 0, "pool": 0, "refunds": 0, "sessions": 0 });
    let empty = check(&app).await;
    assert_eq!((&empty["owedSats"], &empty["heldSats"]), (&nothing, &json!(0)));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let session = app.post("/api/sessions", r#"{"amountSats":500}"#).await.ok(201);
    app.pay(&text(&session["invoice"]["paymentHash"])).await;
    let (_, eval) = app.job_create("hello").await;
    app.pay(&eval).await;
    let node = app.post("/api/bootstrap", "{}").await.ok(201);
    app.pay(&text(&node["invoice"]["paymentHash"])).await;
    let full = check(&app).await;
    assert_eq!(
        full["owedSats"],
        json!({ "bootstraps": 50_000, "jobs": 1, "pool": 0, "refunds": 0, "sessions": 500 })
    );
    assert_eq!(full["heldSats"], 50_501);
    // What a closed session has left is due as a refund, and held still.
    let close = app.request(Method::POST, &format!("/api/sessions/{}/close", text(&session["sessionId"])));
    app.send(close.bearer_auth(text(&session["macaroon"]))).await.ok(202);
    let closed = check(&app).await;
    assert_eq!((&closed["owedSats"]["sessions"], &closed["owedSats"]["refunds"]), (&json!(0), &json!(500)));
    assert_eq!(closed["heldSats"], 50_501);
}

#[tokio::test]
async fn a_refund_that_is_paid_is_neither_owed_nor_held() {
    let app = TestApp::with(Options { settings: without_funding(), ..Options::default() });
    let owed = Owed::job(&app).await;
    let due = owed.refund(&app).await["dueSats"].clone();
    let before = check(&app).await;
    assert_eq!(before["owedSats"]["refunds"], due, "{before}");
    owed.claim_to(&app, &owed.invoice(&app).await).await.ok(202);
    owed.until_paid(&app).await;
    let after = check(&app).await;
    assert_eq!(after["owedSats"]["refunds"], 0, "{after}");
    let held = |solvency: &Value| solvency["heldSats"].as_u64().unwrap();
    assert_eq!(held(&before) - held(&after), owed.payable + 1);
    assert_eq!(held(&after), balance_sats(&app).await);
}

#[tokio::test]
async fn what_the_wallet_does_not_say_is_unknown_and_not_zero() {
    let app = TestApp::standing();
    app.wallet.faults().queue(Operation::Balance, Fault::Fail);
    let solvency = app.get(PATH).await.ok(200);
    assert_eq!(solvency["heldSats"], Value::Null, "{solvency}");
    assert_eq!(solvency.as_object().unwrap().len(), 3, "null is shown: {solvency}");
    assert_eq!(solvency["owedSats"]["pool"], 10_000);
    assert_eq!(app.get(PATH).await.ok(200), solvency, "it is looked up again later");
    assert_eq!(check(&app).await["heldSats"], 0);
}

#[tokio::test]
async fn anybody_may_read_it_but_a_wrong_credential_is_wrong() {
    let app = TestApp::standing();
    app.get(PATH).await.ok(200);
    let head = app.send(app.request(Method::HEAD, PATH)).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    app.send(app.request(Method::GET, PATH).header("X-Nostr-Token", "forged"))
        .await
        .is_problem(401, "invalid_identity");
    app.post(PATH, "{}").await.is_problem(405, "method_not_allowed");
}
