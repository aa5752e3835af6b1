//! Jobs whose payment is held.

use crate::app::TestApp;
use serde_json::{Value, json};

/// A job whose fee is paid, whose work is to be paid with a hold invoice; and its hash.
async fn invoiced(app: &TestApp, request: &str) -> (String, String) {
    let body = json!({"request": request, "payment": "held"});
    let created = app.post("/api/jobs", body.to_string()).await.ok(201);
    let id = created["jobId"].as_str().unwrap().to_owned();
    assert_eq!(app.get(&format!("/api/jobs/{id}")).await.ok(200)["payment"], "held");
    app.pay(created["evalInvoice"]["paymentHash"].as_str().unwrap()).await;
    let priced = app.job_reaches(&id, "awaiting_work_payment").await;
    assert_eq!(priced["payment"], "held");
    (id, priced["workInvoice"]["paymentHash"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_held_payment_is_taken_when_the_work_is_done() {
    let app = TestApp::new();
    let (id, hash) = invoiced(&app, "hello").await;
    app.try_pay(&hash).await.is_problem(409, "not_payable");
    let done = app.job_reaches(&id, "complete").await;
    assert_eq!(done["payment"], "held");
    assert!(done["result"].as_str().unwrap().starts_with("You asked: hello"));
    let charged = done["charged"]["chargedSats"].as_u64().unwrap();
    assert!(charged > 0 && done["refund"]["amountSats"].as_u64().unwrap() > 0);
    // The payer's wallet has the preimage by now.
    assert_eq!(app.pay(&hash).await["paymentHash"], *hash);
}

#[tokio::test]
async fn a_held_payment_is_given_back_when_the_work_fails() {
    let app = TestApp::new();
    let (id, hash) = invoiced(&app, "[sim:refuse]").await;
    app.try_pay(&hash).await.is_problem(409, "not_payable");
    let failed = app.job_reaches(&id, "failed").await;
    assert!(failed["errorMessage"].as_str().unwrap().ends_with("was not taken."), "{failed}");
    assert_eq!(failed["refund"]["amountSats"], 0);
    app.try_pay(&hash).await.is_problem(409, "not_payable");
}

#[tokio::test]
async fn a_job_says_nothing_of_its_payment_unless_it_is_held() {
    let app = TestApp::standing();
    for payment in [Value::Null, json!("prepaid")] {
        let body = json!({"request": "hello", "payment": payment});
        let created = app.post("/api/jobs", body.to_string()).await.ok(201);
        let id = created["jobId"].as_str().unwrap();
        assert_eq!(app.get(&format!("/api/jobs/{id}")).await.ok(200).get("payment"), None);
    }
    let body = json!({"request": "hello", "payment": "later"});
    app.post("/api/jobs", body.to_string()).await.is_problem(400, "invalid_field");
}
