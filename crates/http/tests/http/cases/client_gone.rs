//! Clients that disconnect during a request.

use crate::app::TestApp;
use reqwest::Method;
use serde_json::json;
use std::time::Duration;
use tithe_wallet_sim::{Fault, Operation};
use tokio::io::AsyncWriteExt;

fn request(key: &str) -> String {
    let body = json!({"request": "and gone"}).to_string();
    let length = body.len();
    format!(
        "POST /api/jobs HTTP/1.1\r\nHost: tithe\r\nContent-Length: {length}\r\nIdempotency-Key: {key}\r\n\r\n{body}"
    )
}

/// Repeats the request with the key until the first request has completed.
async fn answered(app: &TestApp, key: &str) -> serde_json::Value {
    for _ in 0..2_000 {
        let answer = app.job_ask_keyed("and gone", key).await;
        if answer.status != 409 {
            return answer.ok(201);
        }
        answer.is_problem(409, "request_in_progress");
    }
    panic!("the first request was never answered");
}

#[tokio::test]
async fn a_client_that_disconnects_after_its_request_creates_at_most_one_job() {
    let app = TestApp::standing();
    for n in 0..20 {
        let key = format!("gone-{n}");
        if n % 2 == 0 {
            let delay = Duration::from_millis(5);
            app.wallet.faults().queue(Operation::InvoiceCreate, Fault::Delay(delay));
        }
        let mut connection = app.connect().await;
        connection.write_all(request(&key).as_bytes()).await.unwrap();
        drop(connection);
        let job = answered(&app, &key).await;
        assert_eq!(app.job(job["jobId"].as_str().unwrap()).await["state"], "awaiting_eval_payment");
    }
    assert_eq!(app.jobs_count().await, 20);
}

#[tokio::test]
async fn a_client_that_disconnects_within_the_body_creates_no_job() {
    let app = TestApp::standing();
    let request = request("half");
    for cut in [request.len() - 1, request.len() - 10, request.find("\r\n\r\n").unwrap() + 4, 30, 1] {
        let mut connection = app.connect().await;
        connection.write_all(&request.as_bytes()[..cut]).await.unwrap();
        connection.shutdown().await.unwrap();
    }
    app.get("/healthz").await.ok(200);
    assert_eq!(app.jobs_count().await, 0);
    assert_eq!(answered(&app, "half").await["state"], "awaiting_eval_payment");
}

#[tokio::test]
async fn a_payment_completes_even_if_the_client_disconnects() {
    let app = TestApp::standing();
    let (id, hash) = app.job_create("hello").await;
    app.wallet.faults().queue(Operation::TestPay, Fault::Delay(Duration::from_millis(20)));
    let request =
        app.request(Method::POST, &format!("/dev/stub/pay/{hash}")).timeout(Duration::from_millis(10));
    request.send().await.unwrap_err();
    for _ in 0..2_000 {
        if app.job(&id).await["state"] == "evaluating" {
            return;
        }
    }
    panic!("the payment was cut short");
}
