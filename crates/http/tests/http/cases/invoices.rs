//! Reading invoices, and test payments.

use crate::app::{Answer, Options, TestApp, key};
use crate::shapes::{answers, has_shape};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;
use tithe_lightning::{PaymentHash, Preimage};

#[tokio::test]
async fn an_invoice_tells_everybody_its_state_and_nothing_else() {
    let app = TestApp::new();
    let (id, eval) = app.job_create("What does this pay for?").await;
    let path = format!("/api/invoices/{eval}");
    let shape = |state: &str, purpose: &str| {
        json!({
            "amountSats": "count", "expiresAt": "time", "paymentHash": "hash", "purpose": format!("={purpose}"),
            "state": format!("={state}"),
        })
    };
    answers(&app.get(&path).await, 200, &shape("pending", "job_eval"));
    app.pay(&eval).await;
    let mut paid = shape("paid", "job_eval");
    paid["paidAt"] = json!("time");
    answers(&app.get(&path).await, 200, &paid);
    let job = app.job_reaches(&id, "awaiting_work_payment").await;
    let work = job["workInvoice"]["paymentHash"].as_str().unwrap();
    answers(&app.get(&format!("/api/invoices/{work}")).await, 200, &shape("pending", "job_work"));
    answers(
        &app.get(&format!("/api/invoices/{}", work.to_uppercase())).await,
        200,
        &shape("pending", "job_work"),
    );
}

#[tokio::test]
async fn only_its_owner_gets_from_an_invoice_to_its_job() {
    let app = TestApp::new();
    let ask = async |path: &str, authorization: Option<&str>| {
        let request = app.request(Method::GET, path);
        let request = match authorization {
            Some(value) => request.header("Authorization", value),
            None => request,
        };
        app.send(request).await.ok(200)
    };
    let created = app.post("/api/jobs", json!({"request": "Whose is this?"}).to_string()).await.ok(201);
    let hash = created["evalInvoice"]["paymentHash"].as_str().unwrap();
    let (id, claim) = (created["jobId"].as_str().unwrap(), created["claimToken"].as_str().unwrap());
    let (path, job) = (format!("/api/invoices/{hash}"), format!("/api/jobs/{id}"));
    let bolt11 = created["evalInvoice"]["paymentRequest"].as_str().unwrap();
    let described: tithe_lightning::lightning_invoice::Bolt11Invoice = bolt11.parse().unwrap();
    assert!(!described.description().to_string().contains(id), "no id is in what every node can read");

    assert!(ask(&path, None).await.get("ownerPath").is_none());
    let by_claim = ask(&path, Some(&format!("Bearer {claim}"))).await;
    assert_eq!(by_claim["ownerPath"], job);
    let preimage = app.pay(hash).await["preimage"].as_str().unwrap().to_owned();
    let by_preimage = ask(&path, Some(&format!("bearer {preimage}"))).await;
    assert_eq!(by_preimage["ownerPath"], job);
    let other = app.post("/api/jobs", json!({"request": "Another."}).to_string()).await.ok(201);
    for wrong in [other["claimToken"].as_str().unwrap(), hash, &"0".repeat(64), "", "v1."] {
        let answer = ask(&path, Some(&format!("Bearer {wrong}"))).await;
        assert!(answer.get("ownerPath").is_none(), "{wrong:?}");
    }
}

#[tokio::test]
async fn the_identity_of_a_job_owns_its_invoices() {
    let app = TestApp::new();
    let token = app.login(&key(1)).await;
    let created = app.post_as(&token, "/api/jobs", json!({"request": "Mine."}).to_string()).await.ok(201);
    let path = format!("/api/invoices/{}", created["evalInvoice"]["paymentHash"].as_str().unwrap());
    let job = format!("/api/jobs/{}", created["jobId"].as_str().unwrap());
    assert_eq!(app.get_as(&token, &path).await.ok(200)["ownerPath"], job);
    let other = app.login(&key(2)).await;
    assert!(app.get_as(&other, &path).await.ok(200).get("ownerPath").is_none());
}

#[tokio::test]
async fn an_expired_invoice_has_no_payment_time() {
    let app = TestApp::standing();
    let (_, hash) = app.job_create("late").await;
    app.clock.advance(Duration::from_secs(601));
    let invoice = app.get(&format!("/api/invoices/{hash}")).await.ok(200);
    assert_eq!(invoice["state"], "expired");
    assert!(invoice.get("paidAt").is_none());
}

#[tokio::test]
async fn a_test_payment_returns_the_preimage_once() {
    let app = TestApp::standing();
    let (_, hash) = app.job_create("pay me").await;
    let paid = app.pay(&hash).await;
    has_shape(&paid, &json!({"ok": true, "paymentHash": "hash", "preimage": "hash"}));
    let preimage: [u8; 32] = hex::decode(paid["preimage"].as_str().unwrap()).unwrap().try_into().unwrap();
    assert_eq!(Preimage::from_bytes(preimage).payment_hash(), hash.parse::<PaymentHash>().unwrap());
    app.try_pay(&hash).await.is_problem(409, "not_payable");
}

#[tokio::test]
async fn a_test_payment_repeated_with_its_key_gets_the_same_response() {
    let app = TestApp::standing();
    let (_, hash) = app.job_create("pay me twice").await;
    let pay = async || {
        let request = app
            .request(Method::POST, &format!("/dev/stub/pay/{hash}"))
            .header("Idempotency-Key", "once, and not again");
        Answer::read(request.send().await.unwrap()).await
    };
    let (first, second) = (pay().await, pay().await);
    assert_eq!((first.status, &first.text), (200, &second.text));
    assert_eq!((first.header("idempotency-replayed"), second.header("idempotency-replayed")), ("", "true"));
}

#[tokio::test]
async fn of_many_concurrent_payers_one_pays() {
    let app = TestApp::new();
    let (id, hash) = app.job_create("a popular invoice").await;
    let answers = futures_util::future::join_all((0..16).map(|_| app.try_pay(&hash))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 409)));
    app.job_reaches(&id, "awaiting_work_payment").await;
}

#[tokio::test]
async fn unknown_invoices_cannot_be_paid_or_read() {
    let app = TestApp::standing();
    let unknown = "ab".repeat(32);
    app.try_pay(&unknown).await.is_problem(404, "not_found");
    app.get(&format!("/api/invoices/{unknown}")).await.is_problem(404, "not_found");
    let (id, hash) = app.job_create("hello").await;
    for malformed in
        ["x", id.as_str(), &hash[1..], &format!("{hash}0"), "%20", "%FF", "g".repeat(64).as_str()]
    {
        app.try_pay(malformed).await.is_problem(400, "invalid_field");
        let answer = app.get(&format!("/api/invoices/{malformed}")).await;
        answer.is_problem(400, "invalid_field");
        assert!(answer.detail().starts_with("paymentHash: "), "{}", answer.detail());
    }
}

#[tokio::test]
async fn without_a_test_payer_its_route_does_not_exist() {
    let app = TestApp::with(Options { dev: false, started: false, ..Options::default() });
    let (_, hash) = app.job_create("hello").await;
    for method in [Method::POST, Method::GET] {
        let answer = app.send(app.request(method, &format!("/dev/stub/pay/{hash}"))).await;
        answer.is_problem(404, "not_found");
    }
    assert_eq!(app.get(&format!("/api/invoices/{hash}")).await.ok(200)["state"], "pending");
}
