//! Receipts: what was charged, for whoever may read the work, and proof of it for everybody else.

use crate::app::{Answer, Metered, Options, TestApp, install, key, receipt};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::Digest as _;
use std::collections::BTreeMap;
use tithe_engine::Settings;
use tithe_paywall::{Caveat, Macaroon};
use tithe_trust::{InvalidEvent, VerifiedEvent};

fn sha256(text: &str) -> String {
    hex::encode(sha2::Sha256::digest(text))
}

/// A request for a receipt.
fn reading(app: &TestApp, id: &str) -> RequestBuilder {
    app.request(Method::GET, &format!("/api/receipts/{id}"))
}

/// The receipt in an answer, after checking that it proves itself: the event is by the server's key, and its content is the rest of the
/// document in canonical form.
fn checked(answer: &Answer) -> Value {
    let mut document = answer.ok(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    let event = document.as_object_mut().unwrap().remove("event").unwrap();
    let verified = VerifiedEvent::from_value(&event).unwrap();
    assert_eq!((verified.pubkey(), verified.kind()), (key(0x4e).pubkey(), 78));
    assert_eq!(verified.tag("d"), Some("tithe:receipt"));
    assert_eq!(document["server"]["pubkey"], key(0x4e).pubkey().to_string());
    let content: BTreeMap<String, Value> = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(event["content"], serde_json::to_string(&content).unwrap(), "sorted, without spaces");
    let seconds = verified.created_at().to_string();
    assert_eq!(document["time"].as_str().unwrap()[..19], seconds[..19]);

    let mut dearer = document.clone();
    dearer["chargedMsats"] = json!(document["chargedMsats"].as_u64().unwrap() + 1);
    let mut forged = event.clone();
    forged["content"] = json!(dearer.to_string());
    assert_eq!(VerifiedEvent::from_value(&forged), Err(InvalidEvent::Id));
    document
}

/// The id of what an answer's id is of, in any of the API's wires.
fn request_id(answer: &Answer) -> String {
    let header = answer.header("x-generation-id").to_owned();
    if header.is_empty() { answer.json()["requestId"].as_str().unwrap().to_owned() } else { header }
}

async fn session(app: &TestApp, sats: u64) -> (String, String) {
    let created = app.post("/api/sessions", json!({ "amountSats": sats }).to_string()).await.ok(201);
    app.pay(created["invoice"]["paymentHash"].as_str().unwrap()).await;
    (created["sessionId"].as_str().unwrap().to_owned(), created["macaroon"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_request_of_a_session_has_a_receipt_for_its_macaroon_and_for_nobody_else() {
    let app = TestApp::new();
    let (_, macaroon) = session(&app, 5_000).await;
    let (_, other) = session(&app, 5_000).await;
    let own = Macaroon::parse(&macaroon).unwrap();
    let narrowed =
        |models: &str| own.narrow(&Caveat::models([models, "sim-large"]).unwrap()).unwrap().encode();
    let (one, two) = (narrowed("a"), narrowed("b"));
    let body = json!({ "model": "sim-large", "messages": [{ "role": "user", "content": "Why is the sky blue?" }], "max_tokens": 50 })
        .to_string();
    let as_ = |request: RequestBuilder, macaroon: &str| {
        request.header("Authorization", format!("Bearer {macaroon}"))
    };
    let chat = app.request(Method::POST, "/v1/chat/completions").body(body.clone());
    let answer = app.ai_send(as_(chat, &one)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let id = request_id(&answer);

    let found = checked(&app.send(as_(reading(&app, &id), &macaroon)).await);
    assert_eq!((&found["id"], &found["kind"]), (&json!(id), &json!("session_request")));
    assert_eq!((&found["outcome"], &found["model"]), (&json!("complete"), &json!("sim-large")));
    assert_eq!(found["requestSha256"], sha256(&body));
    let usage = &answer.json()["usage"];
    assert_eq!(found["usage"]["inputTokens"], usage["prompt_tokens"]);
    assert_eq!(found["usage"]["outputTokens"], usage["completion_tokens"]);
    assert_eq!((&found["costMsats"], &found["chargedMsats"]), (&usage["cost_msats"], &usage["cost_msats"]));
    // 100000 dollars for a bitcoin is a millionth of a dollar for a msat.
    assert_eq!(found["charges"][0]["btcPriceUsdMicros"], 100_000_000_000_u64);
    assert_eq!(found["chargedUsdMicros"], found["chargedMsats"]);
    assert_eq!(found["payment"], Value::Null);
    // A second reading is the same receipt.
    assert_eq!(checked(&app.send(as_(reading(&app, &id), &one)).await), found);
    let by_key = reading(&app, &id).header("X-Api-Key", &macaroon);
    assert_eq!(checked(&app.send(by_key).await), found);

    for stranger in [&two, &other] {
        app.send(as_(reading(&app, &id), stranger)).await.is_problem(404, "not_found");
    }
    app.send(reading(&app, &id)).await.is_problem(404, "not_found");
    app.send(as_(reading(&app, &id), &macaroon[..40])).await.is_problem(401, "invalid_macaroon");
    app.send(as_(reading(&app, &uuid::Uuid::from_u128(7).to_string()), &macaroon))
        .await
        .is_problem(404, "not_found");
    app.send(as_(reading(&app, "what"), &macaroon)).await.is_problem(400, "invalid_field");
}

#[tokio::test]
async fn a_paid_request_has_a_receipt_by_its_id_and_by_its_payment() {
    let app = TestApp::new();
    for route in Metered::ALL {
        let body = route.body("Why is the sky blue?", false);
        let paid = app.bought(route, &body).await;
        let hash = paid.offer.hash();
        let read =
            async |id: &str, proof: &str| app.send(reading(&app, id).header("Authorization", proof)).await;
        // Nothing was charged yet.
        read(&hash, &paid.l402()).await.is_problem(404, "not_found");
        let answer = app.proving(route, &body, &paid.l402()).await;
        assert_eq!(answer.header("link"), format!("</api/receipts/{hash}>; rel=\"describedby\""));
        assert_eq!(receipt(&answer)["reference"], hash);

        let found = checked(&read(&hash, &paid.l402()).await);
        let id = found["id"].as_str().unwrap();
        assert_eq!(checked(&read(id, &paid.payment()).await), found);
        assert_eq!(found["kind"], "paid_request");
        // Plain requests are known by their text.
        let hashed = if route == Metered::Ask { "Why is the sky blue?".to_owned() } else { body.to_string() };
        assert_eq!(found["requestSha256"], sha256(&hashed), "{route:?}");
        let state = paid.state(&app).await;
        assert_eq!(found["chargedMsats"], state["chargedMsats"]);
        assert_eq!(found["payment"]["paymentHashes"], json!([hash]));
        assert_eq!(found["payment"]["paidMsats"], paid.offer.sats() * 1_000);
        assert_eq!(found["payment"]["refundedSats"], state["refund"]["amountSats"]);

        let other = app.bought(route, &route.body("Why is grass green?", false)).await;
        read(&hash, &other.l402()).await.is_problem(401, "invalid_payment_proof");
        read(id, &other.l402()).await.is_problem(404, "not_found");
        app.send(reading(&app, &hash)).await.is_problem(401, "invalid_payment_proof");
    }
}

#[tokio::test]
async fn a_job_has_a_receipt_for_whoever_knows_its_id() {
    let app = TestApp::new();
    let (id, hash) = app.job_create("Why is the sky blue?").await;
    app.send(reading(&app, &id)).await.is_problem(404, "not_found");
    app.pay(&hash).await;
    let job = app.job_reaches(&id, "awaiting_work_payment").await;
    // It has not ended.
    app.send(reading(&app, &id)).await.is_problem(404, "not_found");
    let work = job["workInvoice"]["paymentHash"].as_str().unwrap();
    app.pay(work).await;
    let done = app.job_reaches(&id, "complete").await;
    let found = checked(&app.send(reading(&app, &id)).await);
    assert_eq!((&found["kind"], &found["outcome"]), (&json!("job"), &json!("complete")));
    assert_eq!(found["requestSha256"], sha256("Why is the sky blue?"));
    assert_eq!(found["payment"]["paymentHashes"], json!([hash, work]));
    let parts: Vec<&Value> =
        found["charges"].as_array().unwrap().iter().map(|charge| &charge["part"]).collect();
    assert_eq!(parts, ["evaluation", "work"]);
    let sum: u64 = found["charges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|charge| charge["chargedMsats"].as_u64().unwrap())
        .sum();
    assert_eq!(found["chargedMsats"], sum);
    // Every msat of the payment is charged or refunded, but for less than a sat.
    let refunded = found["payment"]["refundedSats"].as_u64().unwrap() * 1_000;
    let rest = found["payment"]["paidMsats"].as_u64().unwrap() - sum - refunded;
    assert!(rest < 1_000, "{found}");
    assert_eq!(done["refund"]["amountSats"].as_u64().unwrap_or(0) * 1_000, refunded, "{done}");
}

#[tokio::test]
async fn a_request_that_a_plan_includes_has_a_receipt_for_its_install() {
    let app = TestApp::new();
    let (mine, other) = (install(1), install(2));
    let answer = app.ask_of(&mine, "Why is the sky blue?").await;
    let body = answer.ok(200);
    let id = request_id(&answer);
    let found = checked(&app.send(reading(&app, &id).header("X-Install-Id", &mine)).await);
    assert_eq!((&found["kind"], &found["chargedMsats"]), (&json!("ask"), &json!(0)));
    assert_eq!((&found["includedMsats"], &found["costMsats"]), (&body["costMsats"], &body["costMsats"]));
    app.send(reading(&app, &id).header("X-Install-Id", &other)).await.is_problem(404, "not_found");
    app.send(reading(&app, &id)).await.is_problem(404, "not_found");
}

#[tokio::test]
async fn a_server_without_a_key_has_receipts_without_an_event() {
    let settings = Settings { nostr_key: None, ..Options::default().settings };
    let app = TestApp::with(Options { settings, ..Options::default() });
    let answer = app.ask_of(&install(1), "Why is the sky blue?").await;
    let request = reading(&app, &request_id(&answer)).header("X-Install-Id", install(1));
    let found = app.send(request).await.ok(200);
    assert_eq!((&found["event"], &found["server"]), (&Value::Null, &json!({})));
}
