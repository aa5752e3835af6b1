//! Cross-origin requests from browsers.

use crate::app::{Answer, Options, TestApp};
use reqwest::Method;
use std::collections::BTreeSet;

const ORIGIN: &str = "https://app.example";

async fn preflight(app: &TestApp, origin: &str, method: &str, headers: &str) -> Answer {
    let request = app
        .request(Method::OPTIONS, "/api/jobs")
        .header("Origin", origin)
        .header("Access-Control-Request-Method", method)
        .header("Access-Control-Request-Headers", headers);
    Answer::read(request.send().await.unwrap()).await
}

/// The names in a list, in lower case.
fn names(list: &str) -> BTreeSet<String> {
    list.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).collect()
}

#[tokio::test]
async fn any_origin_may_call_with_the_headers_of_the_contract() {
    let app = TestApp::standing();
    for origin in [ORIGIN, "null", "http://localhost:3000"] {
        for header in [
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "X-Nostr-Token",
            "X-Install-Id",
            "X-License",
            "Last-Event-ID",
        ] {
            let answer = preflight(&app, origin, "POST", &header.to_ascii_lowercase()).await;
            assert_eq!(answer.status, 200, "{header}: {answer:?}");
            assert_eq!(answer.header("access-control-allow-origin"), "*");
            assert!(
                names(answer.header("access-control-allow-headers")).contains(&header.to_ascii_lowercase())
            );
            assert!(names(answer.header("access-control-allow-methods")).contains("post"));
            assert_eq!(answer.header("access-control-allow-credentials"), "");
            assert_eq!(answer.header("access-control-max-age"), "3600");
            assert!(!answer.header("x-request-id").is_empty());
        }
    }
    assert_eq!(app.jobs_count().await, 0);
}

#[tokio::test]
async fn every_response_exposes_the_headers_of_the_contract() {
    let app = TestApp::standing();
    let hash = "00".repeat(32);
    for path in [
        "/healthz",
        "/api/jobs",
        "/nowhere",
        "/api/jobs/x",
        &format!("/api/invoices/{hash}"),
        "/openapi.json",
    ] {
        let answer = app.send(app.request(Method::GET, path).header("Origin", ORIGIN)).await;
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        let exposed = names(answer.header("access-control-expose-headers"));
        for name in [
            "X-Nostr-Token",
            "X-Request-Id",
            "WWW-Authenticate",
            "Payment-Receipt",
            "X-Tithe-Cost-Msats",
            "X-Tithe-Balance-Msats",
            "X-Tithe-Backend",
            "Idempotency-Replayed",
            "Retry-After",
        ] {
            assert!(exposed.contains(&name.to_ascii_lowercase()), "{name} is not exposed");
        }
    }
}

#[tokio::test]
async fn a_rejected_preflight_request_is_a_problem() {
    let app = TestApp::standing();
    for (method, header) in [("PUT", "authorization"), ("TRACE", "authorization")] {
        let answer = preflight(&app, ORIGIN, method, header).await;
        assert_eq!(answer.status, 400, "{method} {header}: {answer:?}");
        answer.check();
    }
}

#[tokio::test]
async fn only_configured_origins_are_allowed() {
    let cors_origins = vec![ORIGIN.to_owned(), "https://other.example".to_owned()];
    let app = TestApp::with(Options { cors_origins, started: false, ..Options::default() });
    for (origin, allowed) in [
        (ORIGIN, true),
        ("https://other.example", true),
        ("https://evil.example", false),
        ("https://app.example.evil", false),
    ] {
        let answer = app.send(app.request(Method::GET, "/healthz").header("Origin", origin)).await;
        assert_eq!(answer.header("access-control-allow-origin"), if allowed { origin } else { "" });
        assert!(names(answer.header("vary")).contains("origin"));
        let answer = preflight(&app, origin, "POST", "content-type").await;
        assert_eq!(answer.header("access-control-allow-origin"), if allowed { origin } else { "" });
    }
}
