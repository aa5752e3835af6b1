//! Responses while a dependency of the server is unavailable.

use crate::app::{Options, TestApp};
use std::time::Duration;
use tithe_engine::Settings;
use tithe_wallet_sim::{Fault, Operation};

#[tokio::test]
async fn without_a_price_jobs_can_be_read_but_not_created() {
    let app = TestApp::standing();
    let (id, hash) = app.job_create("before").await;
    app.prices.switch_off(true);
    app.job_ask("after").await.is_problem(503, "no_price");
    app.get("/api/estimate?request=after").await.is_problem(503, "no_price");
    assert_eq!(app.job(&id).await["state"], "awaiting_eval_payment");
    app.pay(&hash).await;
    assert_eq!(app.job(&id).await["state"], "evaluating");
    app.prices.switch_off(false);
    app.job_ask("after").await.ok(201);
}

#[tokio::test]
async fn an_unavailable_wallet_does_not_affect_reads() {
    let app = TestApp::standing();
    let (id, hash) = app.job_create("hello").await;
    for fault in [Fault::Fail, Fault::LoseAnswer] {
        app.clock.advance(Duration::from_secs(2));
        app.wallet.faults().queue(Operation::InvoiceStatus, fault);
        assert_eq!(app.job(&id).await["state"], "awaiting_eval_payment");
        app.clock.advance(Duration::from_secs(2));
        app.wallet.faults().queue(Operation::InvoiceStatus, fault);
        assert_eq!(app.get(&format!("/api/invoices/{hash}")).await.ok(200)["state"], "pending");
    }
}

#[tokio::test]
async fn a_hanging_wallet_times_out() {
    let settings = Settings { wallet_timeout: Duration::from_millis(30), ..Settings::default() };
    let app = TestApp::with(Options { settings, started: false, ..Options::default() });
    for _ in 0..3 {
        app.wallet.faults().queue(Operation::InvoiceCreate, Fault::Delay(Duration::from_mins(5)));
    }
    app.job_ask("hello").await.is_problem(503, "no_wallet");
    app.job_ask("hello").await.ok(201);
}

#[tokio::test]
async fn a_failed_test_payment_can_be_retried() {
    let app = TestApp::standing();
    let (id, hash) = app.job_create("hello").await;
    app.wallet.faults().queue(Operation::TestPay, Fault::Fail);
    app.try_pay(&hash).await.is_problem(503, "no_wallet");
    app.pay(&hash).await;
    // The next payment succeeds although its response is lost.
    let (other, hash) = app.job_create("hello").await;
    app.wallet.faults().queue(Operation::TestPay, Fault::LoseAnswer);
    app.try_pay(&hash).await.is_problem(503, "no_wallet");
    assert_eq!(app.job(&other).await["state"], "evaluating");
    app.try_pay(&hash).await.is_problem(409, "not_payable");
    assert_eq!(app.job(&id).await["state"], "evaluating");
}

#[tokio::test]
async fn payments_without_a_notification_are_found_by_polling() {
    let settings = Settings { poll_interval: Duration::from_hours(1), ..Settings::default() };
    let app = TestApp::with(Options { settings, ..Options::default() });
    app.wallet.faults().silence_settlements(true);
    app.job_complete("Is anybody there?").await;
}

#[tokio::test]
async fn at_the_limit_of_unpaid_invoices_no_job_is_created_until_one_is_paid() {
    let settings = Settings { max_unpaid_invoices: 2, ..Settings::default() };
    let app = TestApp::with(Options { settings, started: false, ..Options::default() });
    let (_, hash) = app.job_create("one").await;
    app.job_create("two").await;
    let refused = app.job_ask("three").await;
    refused.is_problem(429, "too_many_unpaid");
    assert_eq!(refused.header("retry-after"), "60");
    app.pay(&hash).await;
    app.job_create("three").await;
}
