//! Bad input is rejected with an error that names the problem, and changes nothing.

use crate::app::{Answer, TestApp};
use futures_util::stream;
use reqwest::{Body, Method};
use serde_json::{Value, json};
use std::convert::Infallible;

const LIMIT: usize = 1024 * 1024;

/// Posts each body and checks that the detail of the problem contains the expected text.
async fn all_refused(app: &TestApp, code: &str, cases: &[(&[u8], &str)]) {
    for (body, detail) in cases {
        let answer = app.post("/api/jobs", body.to_vec()).await;
        answer.is_problem(400, code);
        assert!(answer.detail().contains(detail), "{:?}: {}", String::from_utf8_lossy(body), answer.detail());
    }
    assert_eq!(app.jobs_count().await, 0);
}

#[tokio::test]
async fn bodies_that_are_not_json_objects_are_rejected() {
    let app = TestApp::standing();
    let deep = format!("{{\"request\":{}", "[".repeat(200_000));
    let cases: [(&[u8], &str); 13] = [
        (b"", "empty body"),
        (b" ", "invalid JSON"),
        (b"{", "invalid JSON"),
        (b"null", "expected a JSON object"),
        (b"[]", "expected a JSON object"),
        (b"\"request\"", "expected a JSON object"),
        (b"{\"request\":\"a\"} x", "invalid JSON"),
        (b"{'request':'a'}", "invalid JSON"),
        (b"request=a", "invalid JSON"),
        (b"{\"request\":\"\xff\"}", "expected UTF-8"),
        (b"{\"request\":\"\xed\xa0\x80\"}", "expected UTF-8"),
        (b"{\"request\":\"\\ud800\"}", "invalid JSON"),
        (deep.as_bytes(), "invalid JSON"),
    ];
    all_refused(&app, "invalid_body", &cases).await;
}

#[tokio::test]
async fn fields_of_the_wrong_type_are_named() {
    let app = TestApp::standing();
    let wrong = [json!(1), json!(-1), json!(1.5), json!(true), json!([]), json!({}), json!(["a"])];
    for field in ["request", "model", "nostr_token"] {
        for value in &wrong {
            let mut body = json!({"request": "a"});
            body[field] = value.clone();
            let body = body.to_string();
            all_refused(&app, "invalid_field", &[(body.as_bytes(), &format!("{field}: "))]).await;
        }
    }
    for value in ["-1", "1.5", "1e3", "\"3\"", "true", "[]", "{}", "18446744073709551616", "-0.0"] {
        let body = format!("{{\"request\":\"a\",\"maxOutputTokens\":{value}}}");
        all_refused(&app, "invalid_field", &[(body.as_bytes(), "maxOutputTokens: ")]).await;
    }
    all_refused(&app, "invalid_body", &[(br#"{"request":"a","maxOutputTokens":1e999}"#, "invalid JSON")])
        .await;
    let cases: [(&[u8], &str); 4] = [
        (b"{}", "request: missing field"),
        (br#"{"Request":"a"}"#, "request: missing field"),
        (br#"{"request":null}"#, "request: "),
        (br#"{"request":"a","request":7}"#, "request: "),
    ];
    all_refused(&app, "invalid_field", &cases).await;
}

#[tokio::test]
async fn values_out_of_range_are_named_once() {
    let app = TestApp::standing();
    for (body, name) in [
        (json!({"request": ""}), "request"),
        (json!({"request": " \t\r\n\u{2003}"}), "request"),
        (json!({"request": "a\u{0}"}), "request"),
        (json!({"request": "a\u{1b}[2J"}), "request"),
        (json!({"request": "a\u{7f}"}), "request"),
        (json!({"request": "a\u{85}"}), "request"),
        (json!({"request": "a".repeat(256 * 1024 + 1)}), "request"),
        (json!({"request": "a", "model": ""}), "model"),
        (json!({"request": "a", "model": "gpt-1"}), "model"),
        (json!({"request": "a", "model": "SIM-LARGE"}), "model"),
        (json!({"request": "a", "model": "m".repeat(100_000)}), "model"),
        (json!({"request": "a", "maxOutputTokens": 0}), "maxOutputTokens"),
        (json!({"request": "a", "maxOutputTokens": 4097}), "maxOutputTokens"),
        (json!({"request": "a", "maxOutputTokens": u64::MAX}), "maxOutputTokens"),
    ] {
        let answer = app.post("/api/jobs", body.to_string()).await;
        answer.is_problem(400, "invalid_field");
        let detail = answer.detail();
        assert!(detail.starts_with(name), "{detail}");
        assert!(!detail.starts_with(&format!("{name}: {name}")), "named twice: {detail}");
    }
    assert_eq!(app.jobs_count().await, 0);
}

#[tokio::test]
async fn a_long_invalid_value_is_truncated_in_the_error() {
    let app = TestApp::standing();
    let long = "x".repeat(LIMIT - 100);
    for body in [json!({"request": "a", "maxOutputTokens": long}), json!({"request": {"a": long}})] {
        let answer = app.post("/api/jobs", body.to_string()).await;
        answer.is_problem(400, "invalid_field");
        assert!(answer.text.len() < 2_000, "{} bytes", answer.text.len());
    }
    let answer = app.get(&format!("/api/jobs?{}=%FF", "n".repeat(10_000))).await;
    answer.is_problem(400, "invalid_field");
    assert!(answer.text.len() < 2_000, "{} bytes", answer.text.len());
    let answer = app.get(&format!("/api/estimate?{}=%FF", "n".repeat(10_000))).await;
    answer.is_problem(400, "invalid_field");
    assert!(answer.text.len() < 2_000, "{} bytes", answer.text.len());
}

#[tokio::test]
async fn unusual_but_valid_requests_are_accepted() {
    let app = TestApp::standing();
    let padding = " ".repeat(LIMIT - 15);
    for body in [
        r#"{"request":"a\tb\r\nc"}"#.to_owned(),
        r#"{"request":"☃ \u2603 \ud83d\ude00 مرحبا"}"#.to_owned(),
        "{\"request\":\"\u{202e}\u{feff}\"}".to_owned(),
        r#"{"request":7,"request":"the last counts"}"#.to_owned(),
        r#"{"request":"a","model":null,"maxOutputTokens":null,"nostr_token":null}"#.to_owned(),
        r#"{"request":"a","maxOutputTokens":4096,"a":{"b":[null,1e300]}}"#.to_owned(),
        json!({"request": "a".repeat(100 * 1024)}).to_string(),
        format!("{{\"request\":\"a\"}}{padding}"),
    ] {
        assert!(body.len() <= LIMIT);
        app.post("/api/jobs", body).await.ok(201);
    }
}

#[tokio::test]
async fn an_oversized_body_is_rejected_with_and_without_content_length() {
    let app = TestApp::standing();
    let body = format!("{{\"request\":\"a\"}}{}", " ".repeat(LIMIT - 14));
    assert_eq!(body.len(), LIMIT + 1);
    app.post("/api/jobs", body.clone()).await.is_problem(413, "body_too_large");
    let chunks: Vec<_> =
        body.as_bytes().chunks(60_000).map(|chunk| Ok::<_, Infallible>(chunk.to_vec())).collect();
    app.post("/api/jobs", Body::wrap_stream(stream::iter(chunks))).await.is_problem(413, "body_too_large");
    let (_, hash) = app.job_create("hello").await;
    app.post(&format!("/dev/stub/pay/{hash}"), body).await.is_problem(413, "body_too_large");
    assert_eq!(app.jobs_count().await, 1);
}

#[tokio::test]
async fn invalid_estimate_parameters_are_named() {
    let app = TestApp::standing();
    let answer = app.get("/api/estimate").await;
    answer.is_problem(400, "invalid_field");
    assert_eq!(answer.json()["error"], "Query param 'request' is required");
    for (query, name) in [
        ("request=", "request"),
        ("request=++%20", "request"),
        ("request=%FF", "request"),
        ("request=%C3%28", "request"),
        ("request=%00", "request"),
        ("request=a&model=", "model"),
        ("request=a&model=none", "model"),
        ("request=a&model=%FF", "model"),
        ("%FF=a&request=a", "query"),
    ] {
        let answer = app.get(&format!("/api/estimate?{query}")).await;
        answer.is_problem(400, "invalid_field");
        assert!(answer.detail().starts_with(name), "{query}: {}", answer.detail());
    }
    for query in ["request=100%", "request=%zz", "request=a&request=%20", "request=%E2%98%83&&=&x"] {
        app.get(&format!("/api/estimate?{query}")).await.ok(200);
    }
}

#[tokio::test]
async fn unknown_jobs_are_not_found_and_malformed_ids_are_rejected() {
    let app = TestApp::standing();
    let (id, hash) = app.job_create("hello").await;
    assert_eq!(app.job(&id.to_uppercase()).await["jobId"], id);
    for suffix in ["", "/events"] {
        for unknown in ["00000000-0000-0000-0000-000000000000", "019a0000-0000-7000-8000-000000000000"] {
            app.get(&format!("/api/jobs/{unknown}{suffix}")).await.is_problem(404, "not_found");
        }
        let simple = id.replace('-', "");
        let (braced, urn, padded) = (format!("%7B{id}%7D"), format!("urn:uuid:{id}"), format!("{id}%20"));
        let long = "a".repeat(5_000);
        for wrong in [
            "x",
            &id[1..],
            &simple,
            &braced,
            &urn,
            &padded,
            &long,
            "%zz",
            "%FF",
            "%00",
            "%2F",
            "%",
            "..%2f",
            "☃",
        ] {
            let answer = app.get(&format!("/api/jobs/{wrong}{suffix}")).await;
            answer.is_problem(400, "invalid_field");
            assert!(answer.detail().starts_with("jobId: "), "{wrong}: {}", answer.detail());
        }
        let answer = app.get(&format!("/api/jobs/{hash}{suffix}")).await;
        answer.is_problem(400, "invalid_field");
        assert!(answer.detail().contains("/api/invoices/"), "{}", answer.detail());
    }
    app.get(&format!("/api/invoices/{id}")).await.is_problem(400, "invalid_field");
}

#[tokio::test]
async fn unknown_routes_are_not_found() {
    let app = TestApp::standing();
    let long = format!("/{}", "x".repeat(5_000));
    for path in [
        "/",
        "/api",
        "/api/",
        "/api/jobs/",
        "/API/JOBS",
        "//api/jobs",
        "/api/jobs/a/b/c",
        "/api/invoices",
        "/dev/stub/pay/",
        "/problems/internal/x",
        "/healthz/",
        "/openapi.yaml",
        "/.env",
        "/%2e%2e/etc/passwd",
        &long,
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            app.send(app.request(method, path)).await.is_problem(404, "not_found");
        }
    }
}

#[tokio::test]
async fn unsupported_methods_get_a_list_of_the_allowed_ones() {
    let app = TestApp::standing();
    let (job, hash) = (uuid::Uuid::nil(), "00".repeat(32));
    for (path, allowed) in [
        ("/api/estimate".to_owned(), "GET, HEAD, POST"),
        ("/api/jobs".to_owned(), "GET, HEAD, POST"),
        (format!("/api/jobs/{job}"), "GET, HEAD"),
        (format!("/api/jobs/{job}/events"), "GET, HEAD"),
        (format!("/api/invoices/{hash}"), "GET, HEAD"),
        (format!("/dev/stub/pay/{hash}"), "POST"),
        ("/problems/internal".to_owned(), "GET, HEAD"),
        ("/healthz".to_owned(), "GET, HEAD"),
        ("/readyz".to_owned(), "GET, HEAD"),
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "X"] {
            if allowed.split(", ").any(|taken| taken == method) {
                continue;
            }
            let answer = app.send(app.request(Method::from_bytes(method.as_bytes()).unwrap(), &path)).await;
            answer.is_problem(405, "method_not_allowed");
            assert_eq!(answer.header("allow"), allowed, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn malformed_credentials_are_rejected_wherever_they_are_sent() {
    let app = TestApp::standing();
    let (id, hash) = app.job_create("hello").await;
    let paths = [
        "/api/estimate?request=a".to_owned(),
        format!("/api/jobs/{id}"),
        format!("/api/jobs/{id}/events"),
        format!("/api/invoices/{hash}"),
    ];
    let headers: [(&str, &[u8]); 8] = [
        ("X-Nostr-Token", b"x"),
        ("X-Nostr-Token", b""),
        ("X-Nostr-Token", b"\xff"),
        ("Authorization", b"Nostr e30="),
        ("Authorization", b"nostr"),
        ("Authorization", b"NOSTR  e30="),
        ("Authorization", b"Nostr \xff"),
        ("Authorization", b"Nostr\te30="),
    ];
    let refused = |answer: &Answer, what: &dyn std::fmt::Debug| {
        assert_eq!((answer.status, answer.code()), (401, "invalid_identity".to_owned()), "{what:?}");
    };
    for (name, value) in headers {
        for path in &paths {
            refused(
                &app.send(app.request(Method::GET, path).header(name, value)).await,
                &(path, name, value),
            );
        }
        let request = app.request(Method::POST, "/api/jobs").body(r#"{"request":"a"}"#);
        refused(&app.send(request.header(name, value)).await, &(name, value));
    }
    for path in &paths {
        let path = format!("{path}{}nostr_token=abc", if path.contains('?') { '&' } else { '?' });
        refused(&app.get(&path).await, &path);
    }
    refused(&app.post("/api/jobs?nostr_token=abc", r#"{"request":"a"}"#).await, &"query");
    for token in ["", "abc"] {
        let body: Value = json!({"request": "a", "nostr_token": token});
        refused(&app.post("/api/jobs", body.to_string()).await, &"body");
    }
    assert_eq!(app.jobs_count().await, 1);
}

#[tokio::test]
async fn credentials_of_other_schemes_are_refused() {
    let app = TestApp::standing();
    for value in ["Bearer x", "Basic eDp5", "Nostradamus x", ""] {
        let request = app.request(Method::GET, "/api/estimate?request=a").header("Authorization", value);
        app.send(request).await.is_problem(401, "invalid_identity");
    }
}
