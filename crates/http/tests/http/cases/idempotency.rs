//! `Idempotency-Key`: repeating a request returns the same response.

use crate::app::{Options, TestApp};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;
use tithe_engine::Settings;
use tithe_wallet_sim::{Fault, Operation};

#[tokio::test]
async fn the_same_request_with_the_same_key_gets_an_identical_response() {
    let app = TestApp::standing();
    let first = app.job_ask_keyed("hello", "key-1").await;
    let second = app.job_ask_keyed("hello", "key-1").await;
    first.ok(201);
    assert_eq!((second.status, &second.text), (201, &first.text));
    assert_eq!((first.header("idempotency-replayed"), second.header("idempotency-replayed")), ("", "true"));
    assert_eq!(first.header("content-type"), second.header("content-type"));
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    assert_eq!(app.jobs_count().await, 1);
}

#[tokio::test]
async fn a_different_request_with_the_same_key_is_rejected() {
    let app = TestApp::standing();
    app.job_ask_keyed("hello", "key").await.ok(201);
    app.job_ask_keyed("hello!", "key").await.is_problem(409, "idempotency_key_reused");
    // White space matters: the raw bodies are compared.
    let spaced = app.request(Method::POST, "/api/jobs").header("Idempotency-Key", "key_____________");
    let answer = app.send(spaced.body(r#"{ "request":"hello"}"#)).await;
    answer.is_problem(409, "idempotency_key_reused");
    let elsewhere = app.request(Method::POST, &format!("/dev/stub/pay/{}", "00".repeat(32)));
    let answer = app
        .send(elsewhere.header("Idempotency-Key", "key_____________").body(r#"{"request":"hello"}"#))
        .await;
    answer.is_problem(409, "idempotency_key_reused");
    assert_eq!(app.jobs_count().await, 1);
}

#[tokio::test]
async fn the_response_is_kept_for_a_day_even_if_the_job_expires() {
    let app = TestApp::standing();
    let first = app.job_ask_keyed("hello", "key").await;
    app.clock.advance(Duration::from_secs(24 * 3600 - 1));
    assert_eq!(app.job(first.json()["jobId"].as_str().unwrap()).await["state"], "expired");
    assert_eq!(app.job_ask_keyed("hello", "key").await.text, first.text);
    app.clock.advance(Duration::from_secs(1));
    let later = app.job_ask_keyed("hello", "key").await;
    assert_ne!(later.ok(201)["jobId"], first.json()["jobId"]);
}

#[tokio::test]
async fn of_many_concurrent_requests_with_one_key_one_creates_the_job() {
    let app = TestApp::standing();
    for _ in 0..3 {
        app.wallet.faults().queue(Operation::InvoiceCreate, Fault::Delay(Duration::from_millis(50)));
    }
    let before = app.jobs_count().await;
    let asked = (0..32).map(|_| app.job_ask_keyed("all at once", "one-key"));
    let answers = futures_util::future::join_all(asked).await;
    let made: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(made.iter().filter(|answer| answer.header("idempotency-replayed").is_empty()).count(), 1);
    assert!(made.iter().all(|answer| answer.text == made[0].text));
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        answer.is_problem(409, "request_in_progress");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(app.jobs_count().await, before + 1);
    assert_eq!(app.job_ask_keyed("all at once", "one-key").await.text, made[0].text);
}

#[tokio::test]
async fn concurrent_requests_with_different_keys_do_not_interfere() {
    let app = TestApp::standing();
    let keys: Vec<_> = (0..32).map(|n| format!("key-{n}")).collect();
    let answers =
        futures_util::future::join_all(keys.iter().map(|key| app.job_ask_keyed("hello", key))).await;
    let mut ids: Vec<_> = answers.iter().map(|answer| answer.ok(201)["jobId"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 32);
}

#[tokio::test]
async fn malformed_keys_are_rejected() {
    let app = TestApp::standing();
    let body = json!({"request": "hello"}).to_string();
    let ask = |key: &[u8]| {
        let key = reqwest::header::HeaderValue::from_bytes(key).unwrap();
        app.request(Method::POST, "/api/jobs").header("Idempotency-Key", key).body(body.clone())
    };
    let long = "k".repeat(256);
    for wrong in [&b""[..], b" ", long.as_bytes(), "schlüssel".as_bytes(), b"\xff", b"a\tb"] {
        let answer = app.send(ask(wrong)).await;
        answer.is_problem(400, "invalid_idempotency_key");
        assert!(answer.detail().starts_with("Idempotency-Key: "), "{}", answer.detail());
    }
    let twice = app.send(ask(b"a").header("Idempotency-Key", "a")).await;
    twice.is_problem(400, "invalid_idempotency_key");
    assert_eq!(app.jobs_count().await, 0);
    for right in ["0123456789abcdef", "\"quoted; strange, but allowed\"", &long[1..]] {
        app.send(ask(right.as_bytes())).await.ok(201);
    }
}

#[tokio::test]
async fn an_invalid_request_does_not_consume_its_key() {
    let app = TestApp::standing();
    app.job_ask_keyed("", "key").await.is_problem(400, "invalid_field");
    app.job_ask_keyed("better", "key").await.ok(201);
}

#[tokio::test]
async fn a_wallet_failure_creates_no_duplicate_job() {
    let app = TestApp::standing();
    app.wallet.faults().queue(Operation::InvoiceCreate, Fault::Fail);
    let failed = app.job_ask_keyed("hello", "key").await;
    failed.is_problem(503, "no_wallet");
    assert_eq!(failed.header("retry-after"), "10");
    let made = app.job_ask_keyed("hello", "key").await;
    made.ok(201);
    assert_eq!(app.jobs_count().await, 1);
    assert_eq!(app.job_ask_keyed("hello", "key").await.text, made.text);
}

#[tokio::test]
async fn a_lost_wallet_response_is_retried() {
    let app = TestApp::standing();
    app.wallet.faults().queue(Operation::InvoiceCreate, Fault::LoseAnswer);
    app.wallet.faults().queue(Operation::InvoiceCreate, Fault::LoseAnswer);
    let made = app.job_ask_keyed("hello", "key").await.ok(201);
    app.pay(made["evalInvoice"]["paymentHash"].as_str().unwrap()).await;
    for _ in 0..3 {
        app.wallet.faults().queue(Operation::InvoiceCreate, Fault::LoseAnswer);
    }
    app.job_ask_keyed("hello", "other").await.is_problem(503, "no_wallet");
    app.job_ask_keyed("hello", "other").await.ok(201);
    assert_eq!(app.jobs_count().await, 2);
}

#[tokio::test]
async fn a_completed_key_is_replayed_even_when_no_job_can_be_created() {
    let settings = Settings { max_unpaid_invoices: 1, ..Settings::default() };
    let app = TestApp::with(Options { settings, started: false, ..Options::default() });
    let first = app.job_ask_keyed("hello", "key").await;
    assert_eq!(app.job_ask_keyed("hello", "key").await.text, first.text);
    app.job_ask("hello").await.is_problem(429, "too_many_unpaid");
    app.job_ask_keyed("hello", "another key").await.is_problem(429, "too_many_unpaid");
}
