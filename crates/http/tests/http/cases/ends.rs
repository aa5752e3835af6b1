//! Jobs that end without a result.

use crate::app::{Options, TestApp};
use crate::shapes::{answers, job, unclaimed, unclaimed_refund};
use serde_json::json;
use std::time::Duration;
use tithe_engine::Settings;
use tithe_lightning::TestPayer;

const PAST_EXPIRY: Duration = Duration::from_secs(601);

#[tokio::test]
async fn a_rejected_request_has_a_reason_and_its_evaluation_fee_is_kept() {
    let app = TestApp::new();
    let (id, hash) = app.job_create("[sim:reject] no").await;
    app.pay(&hash).await;
    app.job_reaches(&id, "rejected").await;
    let shape =
        job("rejected", json!({"reason": "text", "refund": {"amountSats": 0, "state": "=not_applicable"}}));
    answers(&app.get(&format!("/api/jobs/{id}")).await, 200, &shape);
}

#[tokio::test]
async fn failed_work_is_refunded_in_full_and_its_cause_is_hidden() {
    let app = TestApp::new();
    let (id, hash) = app.job_accepted("[sim:refuse] please").await;
    let asked = app.job(&id).await["workInvoice"]["amountSats"].clone();
    app.pay(&hash).await;
    app.job_reaches(&id, "failed").await;
    let shape = job("failed", json!({"errorMessage": "text", "refund": unclaimed_refund()}));
    let failed = answers(&app.get(&format!("/api/jobs/{id}")).await, 200, &shape);
    assert_eq!(failed["refund"]["amountSats"], asked);
    assert!(!failed["errorMessage"].as_str().unwrap().contains("sim"));
}

#[tokio::test]
async fn a_failed_evaluation_is_refunded_and_an_unreadable_one_is_not() {
    let nothing = json!({"amountSats": 0, "state": "not_applicable"});
    for (directive, refund) in [("[sim:nonsense-evaluation]", Some(nothing)), ("[sim:fail-evaluation]", None)]
    {
        let settings = Settings { max_attempts: 1, ..Settings::default() };
        let app = TestApp::with(Options { settings, ..Options::default() });
        let (id, hash) = app.job_create(directive).await;
        let fee = app.job(&id).await["evalInvoice"]["amountSats"].as_u64().unwrap();
        app.pay(&hash).await;
        let failed = app.job_reaches(&id, "failed").await;
        let refund = refund.unwrap_or_else(|| unclaimed(fee));
        assert_eq!(failed["refund"], refund, "{directive}");
    }
}

#[tokio::test]
async fn an_expired_invoice_expires_its_job() {
    let app = TestApp::standing();
    let (id, hash) = app.job_create("too late").await;
    app.clock.advance(PAST_EXPIRY);
    let shape = job("expired", json!({"refund": {"amountSats": 0, "state": "=not_applicable"}}));
    answers(&app.get(&format!("/api/jobs/{id}")).await, 200, &shape);
    assert_eq!(app.get(&format!("/api/invoices/{hash}")).await.ok(200)["state"], "expired");
    app.try_pay(&hash).await.is_problem(409, "not_payable");
    let events = app.follow_to_the_end(&id, None).await;
    let states: Vec<_> = events.iter().map(|event| event.data["state"].clone()).collect();
    assert_eq!(states, ["awaiting_eval_payment", "expired"]);
}

#[tokio::test]
async fn an_invoice_does_not_expire_one_moment_early() {
    let app = TestApp::standing();
    let (id, hash) = app.job_create("just in time").await;
    app.clock.advance(Duration::from_secs(599));
    assert_eq!(app.job(&id).await["state"], "awaiting_eval_payment");
    app.pay(&hash).await;
    assert_eq!(app.job(&id).await["state"], "evaluating");
}

#[tokio::test]
async fn a_payment_found_after_its_job_expired_is_refunded() {
    let app = TestApp::standing();
    let created = app.job_ask("a payment that got stuck").await.ok(201);
    let id = created["jobId"].as_str().unwrap();
    app.clock.advance(PAST_EXPIRY);
    assert_eq!(app.job(id).await["state"], "expired");
    let last_seen = app.follow_to_the_end(id, None).await.pop().unwrap().id;

    // The wallet's clock was behind, so the wallet accepted the payment as on time.
    let now = tithe_clock::Clock::now(app.clock.as_ref());
    app.clock.set(now - Duration::from_mins(5));
    let bolt11 = created["evalInvoice"]["paymentRequest"].as_str().unwrap().parse().unwrap();
    app.wallet.pay(&bolt11).await.unwrap();
    app.clock.set(now);
    let engine = app.engine.clone();
    app.on_runtime(async move {
        engine.payments.poll().await.unwrap();
        engine.payments.poll_late().await.unwrap();
    })
    .await;

    let late = app.job(id).await;
    let owed = unclaimed(created["evalInvoice"]["amountSats"].as_u64().unwrap());
    assert_eq!((&late["state"], &late["refund"]), (&json!("expired"), &owed));
    let hash = created["evalInvoice"]["paymentHash"].as_str().unwrap();
    assert_eq!(app.get(&format!("/api/invoices/{hash}")).await.ok(200)["state"], "paid");
    // A client that reconnects to the stream sees it too.
    let news = app.follow_to_the_end(id, Some(&last_seen)).await;
    assert_eq!(news.iter().map(|event| &event.data["refund"]).collect::<Vec<_>>(), [&owed]);
}

#[tokio::test]
async fn interrupted_work_is_retried_and_finally_refunded() {
    let settings = Settings { max_attempts: 2, ..Settings::default() };
    let app = TestApp::with(Options { settings, ..Options::default() });
    let (id, hash) = app.job_accepted("[sim:die] in the middle").await;
    // A client that connects during the second attempt sees nothing of the first.
    let following = app.follow(&id, None).await;
    app.pay(&hash).await;
    let events = following.rest().await;
    let last = events.last().unwrap();
    assert_eq!(last.data["state"], "failed");
    // Attempt numbers increase; their exact values are not specified.
    let mut attempts: Vec<_> = events.iter().filter_map(|event| event.data["attempt"].as_u64()).collect();
    assert!(attempts.is_sorted(), "{attempts:?}");
    attempts.dedup();
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    assert!(last.data.get("result").is_none());
}
