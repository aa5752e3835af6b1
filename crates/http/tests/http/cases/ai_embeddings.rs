//! `POST /v1/embeddings`.

use crate::app::{AiSession, Answer, Moved, Options, Scripted, TestApp, Wire, install, key, settings};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::sync::Arc;
use tithe_chat::Vectors;
use tithe_engine::Settings;
use tithe_engine::inference::{Embeddings, InferenceError};
use tithe_ledger::credits::{Counted, Plans, Quota};
use tithe_money::Sats;
use tithe_pricing::Usage;

const MODEL: &str = "sim-embedding";

fn selling() -> Settings {
    let mut settings = settings();
    settings.offered_models.insert(MODEL.to_owned());
    settings
}

fn app() -> (TestApp, Arc<Scripted>) {
    TestApp::scripted(Options { settings: selling(), ..Options::default() })
}

fn body(input: &Value) -> Value {
    json!({ "model": MODEL, "input": input })
}

fn request(app: &TestApp, body: &Value) -> RequestBuilder {
    app.request(Method::POST, "/v1/embeddings").body(body.to_string())
}

fn of_session(session: &AiSession<'_>, body: &Value) -> RequestBuilder {
    request(session.app, body).header("Authorization", format!("Bearer {}", session.macaroon))
}

async fn embed(session: &AiSession<'_>, body: &Value) -> Answer {
    session.app.ai_send(of_session(session, body)).await
}

#[expect(clippy::unnecessary_wraps, reason = "a backend may report none")]
fn used(tokens: u64) -> Option<Usage> {
    Some(Usage { input_tokens: tokens, ..Usage::ZERO })
}

#[expect(clippy::unnecessary_wraps, reason = "a backend may fail")]
fn scripted(vectors: &[&[f32]], usage: Option<Usage>) -> Result<Embeddings, InferenceError> {
    let vectors = vectors.iter().map(|vector| vector.to_vec()).collect();
    Ok(Embeddings { vectors: Vectors::new(vectors).unwrap(), usage })
}

/// The vectors of an answer, whatever their form.
fn vectors(answer: &Answer) -> Vec<Vec<f32>> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let body = answer.json();
    assert_eq!((&body["object"], &body["model"]), (&json!("list"), &json!(MODEL)));
    let rows = body["data"].as_array().unwrap().iter().enumerate();
    let read = rows.map(|(index, row)| {
        assert_eq!((&row["object"], &row["index"]), (&json!("embedding"), &json!(index)));
        match &row["embedding"] {
            Value::String(text) => {
                let bytes = STANDARD.decode(text).unwrap();
                bytes.chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
            }
            numbers => serde_json::from_value(numbers.clone()).unwrap(),
        }
    });
    read.collect()
}

#[tokio::test]
async fn what_is_charged_is_what_the_backend_counted() {
    let (app, backend) = app();
    let session = app.ai_session(1_000).await;
    for format in ["float", "base64"] {
        let before = session.balance().await;
        backend.embeds(scripted(&[&[0.1, -1.0], &[f32::MIN_POSITIVE, 1.0 / 3.0]], used(7)));
        let mut body = body(&json!(["Why is the sky blue?", "Because."]));
        body["encoding_format"] = format.into();
        let answer = embed(&session, &body).await;
        assert_eq!(vectors(&answer), [[0.1, -1.0], [f32::MIN_POSITIVE, 1.0 / 3.0]], "{format}");
        let (price, id) = (app.embedding_price(7).await, answer.header("x-generation-id"));
        let usage = answer.json()["usage"].clone();
        assert_eq!(
            (&usage["prompt_tokens"], &usage["total_tokens"], &usage["cost_msats"]),
            (&json!(7), &json!(7), &json!(price)),
            "{usage}"
        );
        assert!(answer.text.starts_with('{'));
        assert_eq!(before - session.balance().await, price);
        assert_eq!(answer.header("x-tithe-cost-msats"), price.to_string());
        assert_eq!(answer.header("x-tithe-balance-msats"), session.balance().await.to_string());
        assert_eq!(app.moved(id).await, Moved { charged: price, ..Moved::default() });
        let record = session.generation(id).await;
        assert_eq!((&record["model"], &record["state"]), (&json!(MODEL), &json!("complete")));
        assert_eq!((&record["tokens_prompt"], &record["tokens_completion"]), (&json!(7), &json!(0)));
        assert_eq!((&record["charged_msats"], &record["estimated"]), (&json!(price), &json!(false)));
    }
}

#[tokio::test]
async fn every_form_of_input_is_embedded_and_counted() {
    let (app, backend) = app();
    let session = app.ai_session(1_000).await;
    for (input, count, tokens) in [
        (json!("hello world"), 1, 2),
        (json!(["hello world", "hello"]), 2, 3),
        // Tokens are counted as they are.
        (json!([5, 6, 7]), 1, 3),
        (json!([[5, 6, 7], [8]]), 2, 4),
    ] {
        let answer = embed(&session, &body(&input)).await;
        let vectors = vectors(&answer);
        assert_eq!((vectors.len(), vectors[0].len()), (count, 256), "{input}");
        assert_eq!(answer.json()["usage"]["prompt_tokens"], tokens, "{input}");
        assert_eq!(answer.header("x-tithe-cost-msats"), app.embedding_price(tokens).await.to_string());
    }
    let mut smaller = body(&json!("hello"));
    smaller["dimensions"] = 8.into();
    assert_eq!(vectors(&embed(&session, &smaller).await)[0].len(), 8);
    assert_eq!(backend.asked(), 5);
}

#[tokio::test]
async fn a_missing_count_is_made_here_and_marked() {
    let (app, backend) = app();
    let session = app.ai_session(1_000).await;
    for usage in [None, Some(Usage::ZERO)] {
        backend.embeds(scripted(&[&[1.0]], usage));
        let answer = embed(&session, &body(&json!("hello world"))).await;
        assert_eq!(answer.json()["usage"]["prompt_tokens"], 2);
        assert_eq!(answer.header("x-tithe-cost-msats"), app.embedding_price(2).await.to_string());
        assert_eq!(session.generation(answer.header("x-generation-id")).await["estimated"], true);
    }
}

#[tokio::test]
async fn no_more_is_charged_than_was_held_and_the_rest_is_the_operators_loss() {
    let (app, backend) = app();
    let session = app.ai_session(1_000).await;
    backend.embeds(scripted(&[&[1.0]], used(1_000_000)));
    let answer = embed(&session, &body(&json!([7, 7]))).await;
    let moved = app.moved(answer.header("x-generation-id")).await;
    assert_eq!(moved.charged, app.embedding_price(2).await, "tokens are counted as they are: {moved:?}");
}

#[tokio::test]
async fn what_fails_is_not_charged_and_what_may_have_been_done_is_booked() {
    let (app, backend) = app();
    let session = app.ai_session(1_000).await;
    let two_for_one = || scripted(&[&[1.0], &[2.0]], used(2));
    for (failure, status, lost) in [
        (Err(InferenceError::Failed(None)), 502, 0),
        (Err(InferenceError::Unavailable { retry_after: None, source: None }), 502, 0),
        (Err(InferenceError::Refused(None)), 422, 0),
        (Err(InferenceError::TimedOut), 502, 2),
        (Err(InferenceError::Interrupted(None)), 502, 2),
        (Err(InferenceError::Nonsense(None)), 502, 2),
        (two_for_one(), 502, 2),
    ] {
        let (case, before) = (format!("{failure:?}"), app.uncollected().await);
        backend.embeds(failure);
        Wire::Chat.refused(&embed(&session, &body(&json!("hello world"))).await, status);
        assert_eq!(session.balance().await, 1_000_000, "{case}");
        let price = if lost == 0 { 0 } else { app.embedding_price(lost).await };
        assert_eq!(app.uncollected().await - before, price, "{case}");
    }
}

#[tokio::test]
async fn a_repetition_gets_the_same_vectors_in_the_form_of_the_first_and_is_charged_once() {
    let (app, backend) = app();
    let session = app.ai_session(1_000).await;
    backend.embeds(scripted(&[&[0.1, -0.0, 1e-40]], used(3)));
    let mut body = body(&json!("hello"));
    body["encoding_format"] = "base64".into();
    let keyed = |body: &Value| of_session(&session, body).header("Idempotency-Key", "a");
    let first = app.ai_send(keyed(&body)).await;
    let after = session.balance().await;
    for _ in 0..2 {
        let again = app.ai_send(keyed(&body)).await;
        assert_eq!(again.text, first.text, "to the byte");
        assert_eq!(again.header("idempotency-replayed"), "true");
        assert_eq!(again.header("x-generation-id"), first.header("x-generation-id"));
    }
    assert_eq!(session.balance().await, after);
    body["encoding_format"] = "float".into();
    let error = Wire::Chat.refused(&app.ai_send(keyed(&body)).await, 409);
    assert_eq!(error["metadata"]["code"], "idempotency_key_reused");
    assert_eq!(backend.asked(), 1);
}

/// SDKs have no key, but say how often they have tried.
#[tokio::test]
async fn a_retry_of_an_sdk_gets_the_answer_of_the_first_try() {
    let (app, backend) = app();
    let session = app.ai_session(1_000).await;
    let tried = |count: &str| {
        of_session(&session, &body(&json!(["hello"]))).header("X-Stainless-Retry-Count", count.to_owned())
    };
    let first = app.ai_send(tried("0")).await;
    let after = session.balance().await;
    let second = app.ai_send(tried("1")).await;
    assert_eq!((second.text, second.status), (first.text.clone(), 200));
    assert_eq!((session.balance().await, backend.asked()), (after, 1));
    // Another first try is another request.
    let other = app.ai_send(tried("0")).await;
    assert_eq!(vectors(&other), vectors(&first));
    assert_eq!(backend.asked(), 2);
}

#[tokio::test]
async fn a_failed_request_is_done_again_under_its_key() {
    let (app, backend) = app();
    let session = app.ai_session(1_000).await;
    let keyed = || of_session(&session, &body(&json!("hello"))).header("Idempotency-Key", "a");
    backend.embeds(Err(InferenceError::Interrupted(None)));
    Wire::Chat.refused(&app.ai_send(keyed()).await, 502);
    let answer = app.ai_send(keyed()).await;
    assert_eq!((vectors(&answer).len(), answer.header("idempotency-replayed")), (1, ""));
}

#[tokio::test]
async fn nobody_pays_and_a_balance_that_is_too_low_are_a_402_that_ends_loops() {
    let (app, backend) = app();
    let error = Wire::Chat.refused(&app.ai_send(request(&app, &body(&json!("hello")))).await, 402);
    assert_eq!(error["metadata"]["reason"], "no_payment");
    let session = app.ai_session(100).await;
    // 296 000 tokens cost 41.44 sats.
    let mut long = body(&json!(vec![vec![7; 8_000]; 37]));
    long["dimensions"] = 1.into();
    for _ in 0..2 {
        assert_eq!(embed(&session, &long).await.status, 200);
    }
    let refused = embed(&session, &long).await;
    let error = Wire::Chat.refused(&refused, 402);
    assert_eq!(error["metadata"]["reason"], "balance", "{error}");
    assert!(
        error["metadata"]["requiredSats"].as_u64() > error["metadata"]["balanceSats"].as_u64(),
        "{error}"
    );
    assert_eq!(backend.asked(), 2);
}

#[tokio::test]
async fn the_plan_of_an_install_and_the_pool_pay_as_for_chats() {
    let mut settings = selling();
    let core = Quota { counted: Counted::Lifetime, requests: Some(1), cloud: None };
    settings.credits.plans = Plans { core, ..Plans::default() };
    settings.credits.models.insert(MODEL.to_owned());
    settings.rules.free_tier.budgets.new = Sats::new(1_000).unwrap();
    let (app, _sim) = TestApp::scripted(Options { settings, ..Options::default() });
    let (body, price) = (body(&json!("hello world")), app.embedding_price(2).await);

    let of_install = || request(&app, &body).header("X-Install-Id", install(1));
    let answer = app.ai_send(of_install().header("Authorization", "Bearer none")).await;
    assert_eq!((vectors(&answer).len(), answer.header("x-tithe-backend")), (1, "cloud"));
    let moved = app.moved(answer.header("x-generation-id")).await;
    assert_eq!(moved, Moved { included: price, ..Moved::default() });
    assert_eq!(app.credits_taken(&install(1)).await, (0, 1));
    let error = Wire::Chat.refused(&app.ai_send(of_install()).await, 402);
    assert_eq!(error["metadata"]["reason"], "cap");

    let token = app.login(&key(1)).await;
    let answer = app.ai_send(request(&app, &body).header("X-Nostr-Token", token)).await;
    assert_eq!(vectors(&answer).len(), 1);
    let moved = app.moved(answer.header("x-generation-id")).await;
    assert_eq!(moved, Moved { granted: price, ..Moved::default() });
    assert_eq!(answer.json()["usage"]["absorbed_msats"], price);
}

#[tokio::test]
async fn bad_input_is_a_400_that_names_the_field_and_costs_nothing() {
    let (app, backend) = app();
    let session = app.ai_session(1_000).await;
    let long = "x ".repeat(9_000);
    for (fields, param, code) in [
        (json!({ "input": "" }), "input", "invalid"),
        (json!({ "input": [] }), "input", "invalid"),
        (json!({ "input": vec!["a"; 2049] }), "input", "invalid"),
        (json!({ "input": ["a", ""] }), "input[1]", "invalid"),
        (json!({ "input": [[]] }), "input[0]", "invalid"),
        (json!({ "input": [1, -1] }), "input[1]", "invalid"),
        (json!({ "input": {"text": "a"} }), "input", "invalid"),
        (json!({ "input": ["a", long] }), "input[1]", "context_length_exceeded"),
        (json!({ "input": vec![7; 8_193] }), "input[0]", "context_length_exceeded"),
        (json!({ "input": vec![vec![7; 8_192]; 37] }), "input", "invalid"),
        (json!({ "encoding_format": "hex" }), "encoding_format", "invalid"),
        (json!({ "dimensions": 0 }), "dimensions", "invalid"),
        (json!({ "model": 7 }), "model", "invalid"),
        // A chat model embeds nothing.
        (json!({ "model": "sim-large" }), "model", "invalid"),
    ] {
        let mut body = body(&json!("a"));
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let answer = embed(&session, &body).await;
        let error = Wire::Chat.refused(&answer, 400);
        assert_eq!(error["param"], param, "{error}");
        assert_eq!(error["code"] == "context_length_exceeded", code == "context_length_exceeded", "{error}");
    }
    let mut unknown = body(&json!("a"));
    unknown["model"] = "text-embedding-4".into();
    assert_eq!(Wire::Chat.refused(&embed(&session, &unknown).await, 404)["code"], "model_not_found");
    let mut refused = body(&json!("a"));
    refused["dimensions"] = 5_000.into();
    Wire::Chat.refused(&embed(&session, &refused).await, 422);
    assert_eq!((session.balance().await, backend.asked()), (1_000_000, 1));
}

#[tokio::test]
async fn an_embedding_model_does_not_chat() {
    let (app, backend) = app();
    let session = app.ai_session(1_000).await;
    for wire in Wire::ALL {
        for stream in [false, true] {
            let mut body = wire.body("hello", stream);
            body["model"] = MODEL.into();
            let error = wire.refused(&session.ask(wire, &body).await, 400);
            let message = error["message"].as_str().unwrap();
            assert!(message.contains("expected a chat model"), "{message}");
        }
    }
    let plain = json!({ "request": "hello", "model": MODEL }).to_string();
    for path in [format!("/api/sessions/{}/request", session.id), "/api/ask".to_owned()] {
        let request = app.request(Method::POST, &path).body(plain.clone());
        let answer = app.send(request.header("Authorization", format!("Bearer {}", session.macaroon))).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
    }
    assert_eq!(app.post("/api/jobs", plain).await.status, 400);
    assert_eq!((session.balance().await, backend.asked()), (1_000_000, 0));
}

#[tokio::test]
async fn the_list_of_models_says_which_embed() {
    let (app, _sim) = app();
    let list = app.ai_send(app.request(Method::GET, "/v1/models")).await.ok(200);
    for row in list["data"].as_array().unwrap() {
        let modalities = &row["architecture"]["output_modalities"];
        let is_embedding = row["id"] == MODEL;
        assert_eq!(*modalities == json!(["embeddings"]), is_embedding, "{row}");
        assert_eq!(row["pricing"]["completion"] == "0", is_embedding, "{row}");
    }
    let plain = app.send(app.request(Method::GET, "/api/models")).await.ok(200);
    let purposes: Vec<&Value> =
        plain["models"].as_array().unwrap().iter().map(|model| &model["purpose"]).collect();
    assert_eq!(purposes, ["embeddings", "chat", "chat"]);
}
