//! Refunds that are paid to an invoice.

use crate::app::{Answer, LONG, Options, TestApp, key, settings};
use crate::shapes::{has_shape, unclaimed};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tithe_engine::Settings;
use tithe_provisioner::SimFault;
use tithe_wallet_sim::{Fault, Operation, PaymentEnd};

/// Something of which a refund is due, and the token that claims it.
pub(super) struct Owed {
    pub(super) path: String,
    pub(super) token: String,
    /// What can be paid of the refund.
    pub(super) payable: u64,
}

/// An invoice of the wallet that pays test invoices.
pub(super) struct Invoice {
    pub(super) request: String,
    pub(super) hash: String,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

impl Owed {
    /// A job that has failed: what was paid for its work is due.
    pub(super) async fn job(app: &TestApp) -> Self {
        let created = app.job_ask("[sim:refuse] please").await.ok(201);
        Self::failed(app, &created).await
    }

    /// A job of an identity that has failed.
    async fn job_of(app: &TestApp, token: &str) -> Self {
        let body = json!({ "request": "[sim:refuse] please" }).to_string();
        let created = app.post_as(token, "/api/jobs", body).await.ok(201);
        Self::failed(app, &created).await
    }

    async fn failed(app: &TestApp, created: &Value) -> Self {
        let id = text(&created["jobId"]);
        app.pay(&text(&created["evalInvoice"]["paymentHash"])).await;
        let priced = app.job_reaches(&id, "awaiting_work_payment").await;
        app.pay(&text(&priced["workInvoice"]["paymentHash"])).await;
        let failed = app.job_reaches(&id, "failed").await;
        let payable = failed["refund"]["payableSats"].as_u64().unwrap();
        Self { path: format!("/api/jobs/{id}"), token: text(&created["claimToken"]), payable }
    }

    pub(super) async fn refund(&self, app: &TestApp) -> Value {
        app.get(&self.path).await.ok(200)["refund"].clone()
    }

    pub(super) async fn claim_as(&self, app: &TestApp, authorization: &str, body: &Value) -> Answer {
        let request = app.request(Method::POST, &format!("{}/refund", self.path));
        app.send(request.header("Authorization", authorization).body(body.to_string())).await
    }

    pub(super) async fn claim(&self, app: &TestApp, body: &Value) -> Answer {
        self.claim_as(app, &format!("Bearer {}", self.token), body).await
    }

    pub(super) async fn claim_to(&self, app: &TestApp, invoice: &Invoice) -> Answer {
        self.claim(app, &json!({ "invoice": invoice.request })).await
    }

    /// An invoice for exactly what can be paid.
    pub(super) async fn invoice(&self, app: &TestApp) -> Invoice {
        invoice_of(app, self.payable).await
    }

    /// Reads until the refund is as wanted.
    pub(super) async fn until(&self, app: &TestApp, is_reached: impl Fn(&Value) -> bool) -> Value {
        until(async || self.refund(app).await, is_reached).await
    }

    pub(super) async fn until_paid(&self, app: &TestApp) -> Value {
        self.until(app, |refund| refund["state"] == "paid").await
    }
}

/// Reads a refund until it is as wanted.
pub(super) async fn until(read: impl AsyncFn() -> Value, is_reached: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let reading = async {
        loop {
            last = read().await;
            if is_reached(&last) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_mins(1), reading).await;
    assert!(reached.is_ok(), "the refund is {last}");
    last
}

pub(super) async fn invoice_of(app: &TestApp, sats: u64) -> Invoice {
    let body = json!({ "amountSats": sats }).to_string();
    let made = app.post("/dev/stub/invoice", body).await.ok(201);
    has_shape(&made, &json!({ "paymentRequest": "bolt11", "paymentHash": "hash", "expiresAt": "time" }));
    Invoice { request: text(&made["paymentRequest"]), hash: text(&made["paymentHash"]) }
}

pub(super) async fn balance_sats(app: &TestApp) -> u64 {
    let wallet = app.wallet.clone();
    let balance = app.on_runtime(async move { tithe_lightning::Wallet::balance(&*wallet).await.unwrap() });
    balance.await.to_sats_rounding_down().get()
}

/// Ends the one payment that is in flight, and returns its proof if it succeeds.
async fn land(app: &TestApp, end: PaymentEnd) -> Option<String> {
    let (engine, wallet) = (app.engine.clone(), app.wallet.clone());
    app.on_runtime(async move {
        let account = engine.payouts.due(None, 2).await.unwrap()[0].account;
        let (_, payouts) = engine.payouts.history(account).await.unwrap();
        let ended = wallet.payment_finish(payouts[0].id, end).await.unwrap();
        match ended {
            tithe_lightning::Payment::Succeeded { preimage, .. } => Some(preimage.reveal()),
            _ => None,
        }
    })
    .await
}

#[tokio::test]
async fn a_refund_is_paid_once_and_the_job_shows_what_becomes_of_it() {
    let app = TestApp::new();
    let owed = Owed::job(&app).await;
    let before = owed.refund(&app).await;
    let due = before["amountSats"].as_u64().unwrap();
    assert_eq!(before, unclaimed(due));
    let (invoice, other) = (owed.invoice(&app).await, owed.invoice(&app).await);
    let held = balance_sats(&app).await;
    app.wallet.faults().queue(Operation::PaymentSend, Fault::LeaveInFlight);

    let claimed = owed.claim_to(&app, &invoice).await;
    assert_eq!(claimed.header("cache-control"), "no-store");
    let claimed = claimed.ok(202);
    assert_eq!(claimed["refund"]["hasDestination"], true, "{claimed}");
    let paying = owed.until(&app, |refund| refund["state"] == "paying").await;
    let mut expected = unclaimed(due);
    expected["state"] = json!("paying");
    expected["hasDestination"] = json!(true);
    expected["paymentHash"] = json!(invoice.hash);
    assert_eq!(paying, expected);
    // While it is in flight, asking again is safe, and nothing else is paid.
    assert_eq!(owed.claim_to(&app, &invoice).await.ok(202)["refund"], paying);
    for destination in
        [json!({ "invoice": other.request }), json!({ "lightningAddress": "alice@example.com" })]
    {
        let refused = owed.claim(&app, &destination).await;
        refused.is_problem(409, "payout_in_flight");
        assert!(refused.detail().contains(&invoice.hash), "{}", refused.detail());
    }

    let preimage = land(&app, PaymentEnd::Succeed).await.unwrap();
    let paid = owed.until_paid(&app).await;
    assert_eq!(paid, json!({ "state": "paid", "amountSats": due, "paymentHash": invoice.hash }));
    assert!(!app.get(&owed.path).await.text.contains(&preimage), "the proof of payment is the customer's");
    assert_eq!(owed.claim_to(&app, &invoice).await.ok(202)["refund"], paid, "asking again is safe");
    owed.claim_to(&app, &other).await.is_problem(409, "nothing_due");
    assert_eq!(owed.refund(&app).await, paid);
    // The simulated routing fee is 1 sat.
    assert_eq!(held - balance_sats(&app).await, owed.payable + 1);
}

#[tokio::test]
async fn many_claims_at_once_are_paid_once() {
    let app = TestApp::new();
    let owed = Owed::job(&app).await;
    let held = balance_sats(&app).await;
    let invoice = owed.invoice(&app).await;
    let mut invoices = Vec::new();
    for _ in 0..8 {
        invoices.push(owed.invoice(&app).await);
    }
    let same = (0..8).map(|_| owed.claim_to(&app, &invoice));
    let others = invoices.iter().map(|other| owed.claim_to(&app, other));
    let (same, others) =
        tokio::join!(futures_util::future::join_all(same), futures_util::future::join_all(others));
    for answer in same.iter().chain(&others) {
        let fits = answer.status == 202
            || (answer.status == 409
                && ["payout_in_flight", "nothing_due"].contains(&answer.code().as_str()));
        assert!(fits, "{}", answer.text);
    }
    let paid = owed.until_paid(&app).await;
    let hashes = invoices.iter().chain([&invoice]).filter(|made| paid["paymentHash"] == made.hash);
    assert_eq!(hashes.count(), 1, "{paid}");
    assert_eq!(held - balance_sats(&app).await, owed.payable + 1);
}

#[tokio::test]
async fn a_keyed_claim_may_be_repeated() {
    let app = TestApp::new();
    let owed = Owed::job(&app).await;
    let held = balance_sats(&app).await;
    let invoice = owed.invoice(&app).await;
    app.wallet.faults().queue(Operation::PaymentSend, Fault::LeaveInFlight);
    let send = async || {
        let request = app.request(Method::POST, &format!("{}/refund", owed.path));
        let request = request.header("Authorization", format!("Bearer {}", owed.token));
        let request = request.header("Idempotency-Key", "0123456789abcdef");
        app.send(request.body(json!({ "invoice": invoice.request }).to_string())).await
    };
    for _ in 0..3 {
        let refund = &send().await.ok(202)["refund"];
        assert_eq!(refund["hasDestination"], true, "{refund}");
    }
    owed.until(&app, |refund| refund["state"] == "paying").await;
    assert_eq!(send().await.ok(202)["refund"]["state"], "paying");
    land(&app, PaymentEnd::Succeed).await.unwrap();
    owed.until_paid(&app).await;
    assert_eq!(held - balance_sats(&app).await, owed.payable + 1);
}

#[tokio::test]
async fn a_payment_that_failed_is_due_still_and_another_invoice_is_paid() {
    let app = TestApp::with(Options { manual_clock: true, ..Options::default() });
    let owed = Owed::job(&app).await;
    let held = balance_sats(&app).await;
    let (first, second) = (owed.invoice(&app).await, owed.invoice(&app).await);
    app.wallet.faults().queue(Operation::PaymentSend, Fault::LeaveInFlight);
    owed.claim_to(&app, &first).await.ok(202);
    owed.until(&app, |refund| refund["state"] == "paying").await;
    land(&app, PaymentEnd::Fail).await;
    // Until then, the wallet may speak of an earlier call.
    app.clock.advance(Settings::default().payout_doubt);
    let failed = owed.until(&app, |refund| refund["state"] == "pending").await;
    assert!(text(&failed["problem"]).starts_with("The payment failed."), "{failed}");
    assert_eq!(failed["payableSats"], owed.payable, "everything is due still");
    let claimed = owed.claim_to(&app, &second).await.ok(202);
    assert_eq!(claimed["refund"]["problem"], Value::Null, "{claimed}");
    let paid = owed.until_paid(&app).await;
    assert_eq!(paid["paymentHash"], second.hash);
    assert_eq!(held - balance_sats(&app).await, owed.payable + 1);
}

#[tokio::test]
async fn only_the_claim_token_and_the_jobs_own_identity_claim_a_refund() {
    let app = TestApp::new();
    let (owner, stranger) = (app.login(&key(1)).await, app.login(&key(2)).await);
    let owed = Owed::job_of(&app, &owner).await;
    let other = Owed::job(&app).await;
    let path = format!("{}/refund", owed.path);
    let body = json!({ "invoice": owed.invoice(&app).await.request });
    let post = || app.request(Method::POST, &path).body(body.to_string());
    app.send(post()).await.is_problem(401, "invalid_claim_token");
    app.send(post().header("X-Nostr-Token", &stranger)).await.is_problem(401, "invalid_claim_token");
    app.send(post().header("X-Nostr-Token", "forged")).await.is_problem(401, "invalid_identity");
    let cut = &owed.token[..owed.token.len() - 1];
    for authorization in [
        "Bearer",
        "Bearer ",
        "Bearer x",
        &format!("Bearer {cut}"),
        &format!("Bearer {}", other.token),
        &format!("Bearer {owner}"),
        &format!("Bearer {} {}", owed.token, owed.token),
        &format!("Basic {}", owed.token),
        &format!("L402 {}", owed.token),
    ] {
        let refused = owed.claim_as(&app, authorization, &body).await;
        assert_eq!(refused.status, 401, "{authorization}: {}", refused.text);
        // A wrong token is wrong, whoever sends it.
        let beside = post().header("Authorization", authorization).header("X-Nostr-Token", &owner);
        assert_eq!(app.send(beside).await.status, 401, "{authorization}");
    }
    let bearer = format!("Bearer {}", owed.token);
    let twice = post().header("Authorization", &bearer).header("Authorization", &bearer);
    assert_eq!(app.send(twice).await.status, 401);
    assert_eq!(owed.refund(&app).await["hasDestination"], false, "nobody has claimed it");

    app.send(post().header("X-Nostr-Token", &owner)).await.ok(202);
    owed.until_paid(&app).await;
    // A signed request is as good as a token.
    let owed = Owed::job_of(&app, &owner).await;
    let path = format!("{}/refund", owed.path);
    let body = json!({ "invoice": owed.invoice(&app).await.request }).to_string();
    let signed = app.request(Method::POST, &path).body(body.clone());
    let signed = signed.header("Authorization", app.signature(&key(1), "POST", &path, &body));
    app.send(signed).await.ok(202);
    owed.until_paid(&app).await;
}

#[tokio::test]
async fn the_list_of_jobs_shows_what_becomes_of_refunds() {
    let app = TestApp::new();
    let owner = app.login(&key(1)).await;
    let owed = Owed::job_of(&app, &owner).await;
    let listed = async || {
        let list = app.get_as(&owner, "/api/jobs").await.ok(200);
        assert_eq!(list["jobs"].as_array().unwrap().len(), 1, "{list}");
        list["jobs"][0]["refund"].clone()
    };
    assert_eq!(listed().await, owed.refund(&app).await);
    assert_eq!(listed().await["state"], "pending");
    owed.claim_to(&app, &owed.invoice(&app).await).await.ok(202);
    let paid = owed.until_paid(&app).await;
    assert_eq!(listed().await, paid);
}

#[tokio::test]
async fn a_long_result_that_readers_share_shows_the_refund_as_it_is_for_each_reader() {
    let app = TestApp::new();
    let created = app.job_ask(&format!("Why is the sky blue? {LONG}")).await.ok(201);
    let id = text(&created["jobId"]);
    app.pay(&text(&created["evalInvoice"]["paymentHash"])).await;
    let priced = app.job_reaches(&id, "awaiting_work_payment").await;
    app.pay(&text(&priced["workInvoice"]["paymentHash"])).await;
    let done = app.job_reaches(&id, "complete").await;
    assert!(text(&done["result"]).len() > 300_000, "the result is long enough to be shared");
    let payable = done["refund"]["payableSats"].as_u64().unwrap();
    let owed = Owed { path: format!("/api/jobs/{id}"), token: text(&created["claimToken"]), payable };
    // A reader that does not take the body keeps it in the server's memory.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut slow = socket.connect(app.address).await.unwrap();
    let head = format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", owed.path, app.address);
    tokio::io::AsyncWriteExt::write_all(&mut slow, head.as_bytes()).await.unwrap();
    tokio::io::AsyncReadExt::read_u8(&mut slow).await.unwrap();

    assert_eq!(owed.refund(&app).await, done["refund"]);
    owed.claim_to(&app, &owed.invoice(&app).await).await.ok(202);
    let paid = owed.until_paid(&app).await;
    assert_eq!(paid["amountSats"], done["refund"]["amountSats"]);
    // The slow reader gets what was true when it began to read.
    let mut rest = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut slow, &mut rest).await.unwrap();
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains(r#""refund":{"state":"pending""#), "{}", rest.len());
}

#[tokio::test]
async fn a_refund_that_the_fee_may_use_up_is_not_paid_out() {
    let settings = Settings { max_attempts: 1, ..settings() };
    let app = TestApp::with(Options { settings, ..Options::default() });
    let created = app.job_ask("[sim:fail-evaluation]").await.ok(201);
    let id = text(&created["jobId"]);
    app.pay(&text(&created["evalInvoice"]["paymentHash"])).await;
    let failed = app.job_reaches(&id, "failed").await;
    assert_eq!(failed["refund"], unclaimed(1));
    let owed = Owed { path: format!("/api/jobs/{id}"), token: text(&created["claimToken"]), payable: 0 };
    for destination in [
        json!({ "invoice": invoice_of(&app, 1).await.request }),
        json!({ "lightningAddress": "alice@example.com" }),
    ] {
        let refused = owed.claim(&app, &destination).await;
        refused.is_problem(409, "refund_too_small");
        assert!(refused.detail().contains("too small to be paid out"), "{}", refused.detail());
    }
    assert_eq!(owed.refund(&app).await, failed["refund"], "it stays due");
}

#[tokio::test]
async fn the_refund_of_a_node_is_paid_to_an_invoice() {
    let app = TestApp::new();
    app.provisioner.faults().queue(SimFault::Refused);
    let created = app.post("/api/bootstrap", "{}").await.ok(201);
    let path = format!("/api/bootstrap/{}", text(&created["bootstrapJobId"]));
    let owed = Owed { path, token: text(&created["claimToken"]), payable: 49_498 };
    let early = owed.claim(&app, &json!({ "lightningAddress": "alice@example.com" })).await;
    early.is_problem(409, "nothing_due");
    app.pay(&text(&created["invoice"]["paymentHash"])).await;
    let pending = owed.until(&app, |refund| refund["state"] == "pending").await;
    assert_eq!(pending, unclaimed(50_000));
    let invoice = owed.invoice(&app).await;
    for authorization in ["Bearer x", &format!("Basic {}", owed.token)] {
        let body = json!({ "invoice": invoice.request });
        assert_eq!(owed.claim_as(&app, authorization, &body).await.status, 401, "{authorization}");
    }
    let wrong = invoice_of(&app, 49_499).await;
    let refused = owed.claim_to(&app, &wrong).await;
    refused.is_problem(400, "invalid_field");
    assert_eq!(refused.detail(), "invoice: wrong amount: expected 49498000 msat, got 49499000 msat");
    owed.claim_to(&app, &invoice).await.ok(202);
    let paid = owed.until_paid(&app).await;
    assert_eq!(paid, json!({ "state": "paid", "amountSats": 50_000, "paymentHash": invoice.hash }));
    assert_eq!(owed.claim_to(&app, &invoice).await.ok(202)["refund"], paid, "asking again is safe");
    owed.claim_to(&app, &wrong).await.is_problem(409, "nothing_due");
    for (id, status) in [("nothing", 400), ("00000000-0000-4000-8000-000000000000", 404)] {
        let body = json!({ "invoice": invoice.request }).to_string();
        assert_eq!(app.post(&format!("/api/bootstrap/{id}/refund"), body).await.status, status);
    }
}
