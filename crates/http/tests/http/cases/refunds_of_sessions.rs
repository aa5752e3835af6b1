//! Sessions, and where what they have left is paid.

use super::refunds::{Invoice, balance_sats, invoice_of, until};
use super::refunds_to_addresses::Host;
use crate::app::{Answer, TestApp};
use crate::shapes::unclaimed;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tithe_engine::Settings;

/// A session that was paid for, of 500 sats.
struct Paid<'a> {
    app: &'a TestApp,
    path: String,
    macaroon: String,
}

/// What can be paid of 500 sats: 2 sats and 1 % are left for the fee.
const PAYABLE: u64 = 493;

impl<'a> Paid<'a> {
    async fn with(app: &'a TestApp, body: Value) -> Self {
        let created = app.post("/api/sessions", body.to_string()).await.ok(201);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        app.pay(&text(&created["invoice"]["paymentHash"])).await;
        let path = format!("/api/sessions/{}", text(&created["sessionId"]));
        Self { app, path, macaroon: text(&created["macaroon"]) }
    }

    async fn open(app: &'a TestApp) -> Self {
        Self::with(app, json!({ "amountSats": 500 })).await
    }

    async fn read(&self) -> Value {
        let request = self.app.request(Method::GET, &self.path);
        self.app.send(request.bearer_auth(&self.macaroon)).await.ok(200)
    }

    async fn close(&self, body: &str) -> Answer {
        let request = self.app.request(Method::POST, &format!("{}/close", self.path));
        self.app.send(request.bearer_auth(&self.macaroon).body(body.to_owned())).await
    }

    async fn close_to(&self, invoice: &Invoice) -> Answer {
        self.close(&json!({ "returnTo": { "invoice": invoice.request } }).to_string()).await
    }

    async fn until(&self, is_reached: impl Fn(&Value) -> bool) -> Value {
        until(async || self.read().await["refund"].clone(), is_reached).await
    }

    async fn until_paid(&self, hash: &str) {
        let paid = self.until(|refund| refund["state"] == "paid").await;
        assert_eq!(paid, json!({ "state": "paid", "amountSats": 500, "paymentHash": hash }));
    }
}

#[tokio::test]
async fn a_session_is_closed_to_an_invoice_for_exactly_what_can_be_paid() {
    let app = TestApp::new();
    let session = Paid::open(&app).await;
    let held = balance_sats(&app).await;
    let invoice = invoice_of(&app, PAYABLE).await;
    let closed = session.close_to(&invoice).await.ok(202);
    assert_eq!(
        (&closed["state"], &closed["refund"]["amountSats"]),
        (&json!("closed"), &json!(500)),
        "{closed}"
    );
    session.until_paid(&invoice.hash).await;
    assert_eq!(held - balance_sats(&app).await, PAYABLE + 1);
    assert_eq!(session.close("").await.ok(202)["refund"]["state"], "paid", "closing again changes nothing");
}

#[tokio::test]
async fn an_unsuitable_destination_leaves_the_session_open() {
    let app = TestApp::new();
    let session = Paid::open(&app).await;
    let wrong = invoice_of(&app, 500).await;
    let refused = session.close_to(&wrong).await;
    refused.is_problem(400, "invalid_field");
    assert!(
        refused.detail().contains("wrong amount: expected 493000 msat, got 500000 msat"),
        "{}",
        refused.detail()
    );
    for (return_to, detail) in [
        (json!({}), "invoice: missing"),
        (json!({ "invoice": "x" }), "invoice: invalid BOLT11"),
        (json!({ "lightningAddress": "x" }), "lightningAddress: invalid Lightning address"),
        (
            json!({ "invoice": wrong.request, "lightningAddress": "a@example.com" }),
            "invoice: several destinations",
        ),
        (json!("alice@example.com"), "returnTo: invalid type"),
    ] {
        let refused = session.close(&json!({ "returnTo": return_to }).to_string()).await;
        refused.is_problem(400, "invalid_field");
        assert!(refused.detail().contains(detail), "{return_to}: {}", refused.detail());
    }
    let open = session.read().await;
    assert_eq!((&open["state"], &open["balanceSats"]), (&json!("active"), &json!(500)));
    assert_eq!(open["refund"], Value::Null);
    let invoice = invoice_of(&app, PAYABLE).await;
    session.close_to(&invoice).await.ok(202);
    session.until_paid(&invoice.hash).await;
}

#[tokio::test]
async fn closing_again_names_where_to_pay_what_is_due() {
    let app = TestApp::new();
    let session = Paid::open(&app).await;
    assert_eq!(session.close("{}").await.ok(202)["refund"], unclaimed(500));
    // An address that does not work. It may be found out, and forgotten, before the response is written.
    let host = Host::start().await;
    let to_host = json!({ "returnTo": { "lightningAddress": host.address() } }).to_string();
    session.close(&to_host).await.ok(202);
    session.until(|refund| refund["problem"].is_string()).await;
    let invoice = invoice_of(&app, PAYABLE).await;
    session.close_to(&invoice).await.ok(202);
    session.until_paid(&invoice.hash).await;
}

#[tokio::test]
async fn a_session_remembers_the_address_that_its_rest_is_paid_to() {
    let app = TestApp::new();
    let host = Host::start().await;
    let invoice = invoice_of(&app, PAYABLE).await;
    host.gives(PAYABLE, &invoice.request).await;
    let return_to = json!({ "lightningAddress": host.address() });
    let session = Paid::with(&app, json!({ "amountSats": 500, "returnTo": return_to })).await;
    assert_eq!(host.requests().await, 0, "nobody is asked before something is due");
    session.close("").await.ok(202);
    session.until_paid(&invoice.hash).await;
    assert_eq!(host.requests().await, 2);
}

#[tokio::test]
async fn a_session_is_not_opened_with_a_destination_that_cannot_be_right() {
    let app = TestApp::new();
    let invoice = invoice_of(&app, PAYABLE).await.request;
    for (return_to, detail) in [
        (json!({ "invoice": invoice }), "returnTo.invoice: unsuitable invoice: expected lightningAddress"),
        (json!({ "invoice": "x" }), "invoice: invalid BOLT11 payment request"),
        (json!({}), "invoice: missing"),
        (
            json!({ "sessionId": "01890000-0000-7000-8000-000000000000" }),
            "returnTo.sessionId: unsuitable session: expected lightningAddress",
        ),
        (json!({ "invoice": invoice, "lightningAddress": "a@example.com" }), "invoice: several destinations"),
        (json!({ "lightningAddress": "a" }), "lightningAddress: invalid Lightning address"),
        (json!(1), "returnTo: invalid type"),
    ] {
        let body = json!({ "amountSats": 500, "returnTo": return_to }).to_string();
        let refused = app.post("/api/sessions", body).await;
        refused.is_problem(400, "invalid_field");
        assert!(refused.detail().contains(detail), "{return_to}: {}", refused.detail());
    }
}

#[tokio::test]
async fn the_rest_of_an_expired_session_can_be_claimed_by_closing_it() {
    let app = TestApp::standing();
    let session = Paid::open(&app).await;
    app.clock.advance(Settings::default().session_idle + Duration::from_secs(1));
    let engine = app.engine.clone();
    app.on_runtime(async move { engine.sweep().await.unwrap() }).await;
    assert_eq!(session.read().await["state"], "expired");
    session.close("").await.is_problem(409, "session_ended");
    let wrong = invoice_of(&app, PAYABLE - 1).await;
    session.close_to(&wrong).await.is_problem(400, "invalid_field");
    let invoice = invoice_of(&app, PAYABLE).await;
    let claimed = session.close_to(&invoice).await.ok(202);
    assert_eq!(
        (&claimed["state"], &claimed["refund"]["hasDestination"]),
        (&json!("expired"), &json!(true)),
        "{claimed}"
    );
    let engine = app.engine.clone();
    app.on_runtime(async move {
        let account = engine.payouts.due(None, 2).await.unwrap()[0].account;
        engine.payouts.retry(account).await.unwrap();
    })
    .await;
    session.until_paid(&invoice.hash).await;
}

#[tokio::test]
async fn a_narrowed_macaroon_claims_nothing() {
    let app = TestApp::new();
    let session = Paid::open(&app).await;
    let own = tithe_paywall::Macaroon::parse(&session.macaroon).unwrap();
    let narrow = own.narrow(&tithe_paywall::Limit::Requests(5).into()).unwrap().encode();
    let body = json!({ "returnTo": { "invoice": invoice_of(&app, PAYABLE).await.request } }).to_string();
    for ended in [false, true] {
        if ended {
            session.close("").await.ok(202);
        }
        let request = app.request(Method::POST, &format!("{}/close", session.path)).bearer_auth(&narrow);
        app.send(request.body(body.clone())).await.is_problem(403, "owner_required");
    }
    assert_eq!(session.read().await["refund"], unclaimed(500));
}
