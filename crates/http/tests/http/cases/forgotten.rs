//! Responses that were deleted on request: their requests are not done again.

use crate::app::{Answer, TestApp, Wire, install};
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tithe_engine::records::TextOwner;

/// Deletes an owner's texts, as `tithe forget` does.
async fn forget(app: &TestApp, owner: TextOwner) {
    let engine = app.engine.clone();
    let forgotten = app.on_runtime(async move { engine.texts.forget(owner).await.unwrap() }).await;
    assert!(forgotten.now.responses > 0, "{forgotten:?}");
}

fn is_gone(answer: &Answer) {
    answer.is_problem(410, "text_deleted");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.header("content-type").starts_with("application/problem+json"), "{answer:?}");
}

/// Plain requests of an install, and requests of a session: once as a whole, once as a stream.
#[tokio::test]
async fn a_repeated_request_whose_response_was_deleted_gets_410() {
    let app = TestApp::new();
    let session = app.ai_session(5_000).await;
    let id = install(1);
    let of_install =
        |key: &str| app.asking("hello").header("X-Install-Id", &id).header("Idempotency-Key", key);
    let of_session = |key: &str| {
        let request = app.request(Method::POST, &format!("/api/sessions/{}/request", session.id));
        let request = request.header("Authorization", format!("Bearer {}", session.macaroon));
        let body = json!({ "request": "hello", "maxOutputTokens": 100 }).to_string();
        request.header("Idempotency-Key", key).body(body)
    };
    let stream = |request: RequestBuilder| request.header("Accept", "text/event-stream");
    let all = || {
        [of_install("whole"), stream(of_install("stream")), of_session("whole"), stream(of_session("stream"))]
    };
    for request in all() {
        assert_eq!(app.send(request).await.status, 200);
    }
    for request in all() {
        let again = app.send(request).await;
        assert_eq!((again.status, again.header("idempotency-replayed")), (200, "true"), "{again:?}");
    }
    let (taken, balance) = (app.credits_taken(&id).await, session.balance().await);
    forget(&app, TextOwner::Install(id.parse().unwrap())).await;
    forget(&app, TextOwner::Session(session.id.parse().unwrap())).await;
    for request in all() {
        is_gone(&app.send(request).await);
    }
    // As the other kind of answer, too.
    is_gone(&app.send(stream(of_install("whole"))).await);
    is_gone(&app.send(of_session("stream")).await);
    assert_eq!((app.credits_taken(&id).await, session.balance().await), (taken, balance));
}

#[tokio::test]
async fn a_repeated_request_of_the_ai_api_whose_response_was_deleted_gets_410_in_its_shape() {
    let app = TestApp::new();
    let session = app.ai_session(5_000).await;
    let id = install(1);
    let all = || {
        let ways = Wire::ALL.into_iter().flat_map(|wire| [(wire, false), (wire, true)]);
        ways.flat_map(|(wire, stream)| {
            let key = format!("{wire:?}-{stream}");
            let body = wire.body("hello", stream);
            let of_install = app.ai_request(wire, &body).header("X-Install-Id", &id);
            [session.request(wire, &body), of_install]
                .map(|request| (wire, stream, request.header("Idempotency-Key", &key)))
        })
        .collect::<Vec<_>>()
    };
    for (wire, stream, request) in all() {
        wire.read(&app.ai_send(request).await, stream);
    }
    let (taken, balance) = (app.credits_taken(&id).await, session.balance().await);
    forget(&app, TextOwner::Session(session.id.parse().unwrap())).await;
    forget(&app, TextOwner::Install(id.parse().unwrap())).await;
    for (wire, stream, request) in all() {
        let answer = app.ai_send(request).await;
        let error = wire.refused(&answer, 410);
        assert_eq!(error["metadata"]["code"], "text_deleted", "{wire:?} {stream}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    assert_eq!((app.credits_taken(&id).await, session.balance().await), (taken, balance));
}
