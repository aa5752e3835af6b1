//! The complete lifecycle of a paid job.

use crate::app::TestApp;
use crate::shapes::{answers, daily_budgets, has_shape, invoice, job, unclaimed_refund};
use serde_json::json;

#[tokio::test]
async fn a_job_is_estimated_created_paid_twice_executed_and_billed() {
    let app = TestApp::new();
    let estimate = app.get("/api/estimate?request=Why+is+the+sky+blue%3F").await;
    let estimate = answers(
        &estimate,
        200,
        &json!({
            "btcPriceUsd": "dollars", "estimatedCostUsd": "dollars", "estimatedMsats": "count",
            "estimatedSats": "count", "evaluationFeeSats": "count", "identity": {"trust_tier": "=anonymous"},
            "pool": {"balanceSats": 10_000, "dailyBudgets": daily_budgets()},
            "range": {"maxSats": "count", "minSats": "count"},
            "tokenEstimate": {"inputTokens": "count", "model": "=sim-large", "outputTokens": "count"},
        }),
    );

    let body = r#"{"request":"Why is the sky blue?","unknown":[1]}"#;
    let created = answers(
        &app.post("/api/jobs", body).await,
        201,
        &json!({
            "claimToken": "text", "createdAt": "time", "evalInvoice": invoice(), "jobId": "uuid",
            "state": "=awaiting_eval_payment", "trust_tier": "=anonymous",
        }),
    );
    let id = created["jobId"].as_str().unwrap();
    let path = format!("/api/jobs/{id}");
    let unpaid = job("awaiting_eval_payment", json!({"evalInvoice": invoice()}));
    let read = answers(&app.get(&path).await, 200, &unpaid);
    assert_eq!(read["evalInvoice"], created["evalInvoice"]);
    let fee = created["evalInvoice"]["amountSats"].as_u64().unwrap();
    assert_eq!(estimate["evaluationFeeSats"], fee);

    let paid = app.pay(created["evalInvoice"]["paymentHash"].as_str().unwrap()).await;
    has_shape(&paid, &json!({"ok": true, "paymentHash": "hash", "preimage": "hash"}));
    app.job_reaches(id, "awaiting_work_payment").await;
    let pricing = json!({
        "amountSats": "count", "btcPriceUsd": 100_000, "estimatedCostUsd": "dollars",
        "fullAmountSats": "count", "marginPct": 40,
    });
    let priced = job("awaiting_work_payment", json!({"pricing": pricing, "workInvoice": invoice()}));
    let priced = answers(&app.get(&path).await, 200, &priced);
    let asked = priced["workInvoice"]["amountSats"].as_u64().unwrap();
    assert_eq!(priced["pricing"]["amountSats"], asked);
    assert_eq!(priced["pricing"]["fullAmountSats"], asked);
    assert_eq!(estimate["range"]["maxSats"], fee + asked);

    app.pay(priced["workInvoice"]["paymentHash"].as_str().unwrap()).await;
    app.job_reaches(id, "complete").await;
    let usage = json!({
        "cachedInputTokens": "count", "costSats": "count", "costUsd": "dollars", "inputTokens": "count",
        "outputTokens": "count",
    });
    let done = json!({
        "charged": {"absorbedSats": 0, "chargedSats": "count"}, "refund": unclaimed_refund(), "result": "text", "finishReason": "=stop",
        "usage": usage,
    });
    let done = answers(&app.get(&path).await, 200, &job("complete", done));
    let charged = done["charged"]["chargedSats"].as_u64().unwrap();
    let refund = done["refund"]["amountSats"].as_u64().unwrap();
    assert_eq!(charged + refund, asked);
    assert_eq!(done["usage"]["costSats"], charged);
    assert!(done["result"].as_str().unwrap().starts_with("You asked: Why is the sky blue?"));
    assert!(estimate["range"]["minSats"].as_u64().unwrap() <= fee + charged);
}

#[tokio::test]
async fn the_chosen_model_and_output_limit_are_priced_and_used() {
    let app = TestApp::new();
    let body = json!({"request": "Count to ten.", "model": "sim-small", "maxOutputTokens": 3});
    let created = app.post("/api/jobs", body.to_string()).await.ok(201);
    let id = created["jobId"].as_str().unwrap();
    app.pay(created["evalInvoice"]["paymentHash"].as_str().unwrap()).await;
    let priced = app.job_reaches(id, "awaiting_work_payment").await;
    app.pay(priced["workInvoice"]["paymentHash"].as_str().unwrap()).await;
    let done = app.job_reaches(id, "complete").await;
    assert_eq!(done["usage"]["outputTokens"], 3);
    assert_eq!(
        done["charged"]["chargedSats"].as_u64().unwrap() + done["refund"]["amountSats"].as_u64().unwrap(),
        priced["workInvoice"]["amountSats"].as_u64().unwrap()
    );
}

#[tokio::test]
async fn an_estimate_has_no_side_effects_and_matches_the_invoices() {
    let app = TestApp::standing();
    for model in ["sim-small", "sim-large"] {
        let estimate = app.get(&format!("/api/estimate?request=hello&model={model}")).await.ok(200);
        assert_eq!(estimate["tokenEstimate"]["model"], model);
        let range = &estimate["range"];
        assert!(range["minSats"].as_u64() <= estimate["estimatedSats"].as_u64());
        assert!(estimate["estimatedSats"].as_u64() <= range["maxSats"].as_u64());
        let sats = estimate["estimatedMsats"].as_u64().unwrap().div_ceil(1_000);
        assert_eq!(estimate["estimatedSats"], sats);
    }
    assert_eq!(app.jobs_count().await, 0);
}

#[tokio::test]
async fn many_concurrent_jobs_all_complete() {
    let app = TestApp::new();
    let jobs = (0..12).map(|n| {
        let app = &app;
        async move { app.job_complete(&format!("Question {n}")).await }
    });
    for (n, done) in futures_util::future::join_all(jobs).await.into_iter().enumerate() {
        assert!(done["result"].as_str().unwrap().starts_with(&format!("You asked: Question {n}\n")));
    }
}
