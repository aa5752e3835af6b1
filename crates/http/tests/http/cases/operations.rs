//! Health checks, the API documentation, and the documentation of problems.

use crate::app::TestApp;
use crate::shapes::answers;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tithe_http::Code;
use tithe_wallet_sim::{Fault, Operation};

#[tokio::test]
async fn a_healthy_server_is_alive_and_ready() {
    let app = TestApp::standing();
    answers(&app.get("/healthz").await, 200, &json!({"status": "=ok"}));
    let ok = json!({"ok": true});
    let checks = json!({"accepting": ok, "backend": ok, "database": ok, "migrations": ok, "price": ok, "wallet": ok, "writes": ok});
    answers(&app.get("/readyz").await, 200, &json!({"checks": checks, "status": "=ready"}));
}

#[tokio::test]
async fn unavailable_dependencies_are_named() {
    let app = TestApp::standing();
    app.wallet.faults().queue(Operation::Balance, Fault::Fail);
    let (ok, not) = (json!({"ok": true}), json!({"ok": false, "problem": "text"}));
    let shape = |wallet: &Value, price: &Value| json!({"checks": {"accepting": ok, "backend": ok, "database": ok, "migrations": ok, "price": price, "wallet": wallet, "writes": ok}, "status": "=not_ready"});
    answers(&app.get("/readyz").await, 503, &shape(&not, &ok));
    app.prices.switch_off(true);
    // What all servers need is no reason for a proxy to use none of them.
    let accepting = json!({"checks": {"accepting": ok}, "status": "=ready"});
    answers(&app.get("/readyz?only=accepting").await, 200, &accepting);
    app.get("/readyz?only=wallet").await.is_problem(400, "invalid_field");
    answers(&app.get("/readyz").await, 503, &shape(&ok, &not));
    answers(&app.get("/healthz").await, 200, &json!({"status": "=ok"}));
    app.prices.switch_off(false);
    app.get("/readyz").await.ok(200);
    // A load balancer learns first that a server is being stopped.
    app.draining.cancel();
    let draining = app.get("/readyz").await;
    assert_eq!((draining.status, &draining.json()["checks"]["accepting"]["ok"]), (503, &json!(false)));
    app.get("/readyz?only=accepting").await.ok(503);
    answers(&app.get("/healthz").await, 200, &json!({"status": "=ok"}));
}

#[tokio::test]
async fn the_type_of_each_problem_links_to_its_documentation() {
    let app = TestApp::standing();
    for code in Code::ALL {
        let (name, status, title, help) = code.facts();
        let kind = json!({"code": name, "status": status, "title": title, "help": help});
        for path in [name.replace('_', "-"), name.to_owned()] {
            assert_eq!(app.get(&format!("/problems/{path}")).await.ok(200), kind);
        }
        assert!(app.get("/problems").await.ok(200)["problems"].as_array().unwrap().contains(&kind));
    }
    for unknown in ["x", "INTERNAL", "%FF", ""] {
        app.get(&format!("/problems/{unknown}")).await.is_problem(404, "not_found");
    }
}

#[tokio::test]
async fn the_documentation_is_a_page() {
    let app = TestApp::standing();
    for path in ["/docs", "/docs/", "/docs/index.html"] {
        let answer = app.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.header("content-type").starts_with("text/html"), "{path}");
        assert!(answer.text.contains("swagger-ui"), "{path}");
    }
    let script = app.get("/docs/swagger-initializer.js").await;
    assert!(script.text.contains("/openapi.json"));
}

#[tokio::test]
async fn the_served_openapi_document_matches_the_repository() {
    let app = TestApp::standing();
    let served = app.get("/openapi.json").await.ok(200);
    assert_eq!(served, serde_json::from_str::<Value>(&tithe_http::openapi_json()).unwrap());
}

#[test]
fn the_openapi_document_in_the_repository_is_current() {
    let kept = include_str!("../../../../../docs/openapi.json");
    assert!(kept == tithe_http::openapi_json(), "docs/openapi.json is out of date: run `just openapi`");
}

#[tokio::test]
async fn every_documented_route_accepts_exactly_its_documented_methods() {
    let app = TestApp::standing();
    let document: Value = serde_json::from_str(&tithe_http::openapi_json()).unwrap();
    let mut operations = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let real = path
            .replace("{jobId}", &uuid::Uuid::nil().to_string())
            .replace("{bootstrapJobId}", &uuid::Uuid::nil().to_string())
            .replace("{sessionId}", &uuid::Uuid::nil().to_string())
            .replace("{installId}", &uuid::Uuid::nil().to_string())
            .replace("/receipts/{id}", &format!("/receipts/{}", uuid::Uuid::nil()))
            .replace("{keyId}", &"0".repeat(32))
            .replace("{paymentHash}", &"00".repeat(32))
            .replace("{model}", "vendor/sim-large")
            .replace("{name}", "internal");
        assert!(!real.contains('{'), "{path}");
        let trace = app.request(Method::TRACE, &real);
        let answer = if path.starts_with("/v1/") { app.ai_send(trace).await } else { app.send(trace).await };
        if path.starts_with("/v1/") {
            // In the shape of the API that is spoken.
            let body: Value = serde_json::from_str(&answer.text).unwrap();
            assert_eq!(
                (answer.status, &body["error"]["metadata"]["code"]),
                (405, &json!("method_not_allowed"))
            );
        } else {
            answer.is_problem(405, "method_not_allowed");
        }
        let said: BTreeSet<_> = methods.as_object().unwrap().keys().map(|name| name.to_uppercase()).collect();
        // HEAD is GET without a response body, and is not documented separately.
        let taken: BTreeSet<_> = answer
            .header("allow")
            .split(", ")
            .filter(|method| *method != "HEAD")
            .map(str::to_owned)
            .collect();
        assert_eq!(taken, said, "{path}");
        for operation in methods.as_object().unwrap().values() {
            assert!(
                operations.insert(operation["operationId"].to_string()),
                "an operation's id is not its own"
            );
            assert!(operation["summary"].is_string(), "{path}");
        }
    }
}

#[tokio::test]
async fn every_readable_path_supports_head() {
    let app = TestApp::standing();
    let (id, hash) = app.job_create("hello").await;
    assert_eq!(app.send(app.request(Method::HEAD, "/")).await.status, 200);
    for path in ["/healthz", "/readyz", &format!("/api/jobs/{id}"), &format!("/api/invoices/{hash}")] {
        let asked = app.send(app.request(Method::HEAD, path)).await;
        assert_eq!((asked.status, asked.text.as_str()), (200, ""), "{path}");
    }
    let missing = app.request(Method::HEAD, "/api/jobs/00000000-0000-0000-0000-000000000000").send().await;
    assert_eq!(missing.unwrap().status(), 404);
}

#[tokio::test]
async fn a_draining_server_rejects_new_jobs_and_still_serves_existing_ones() {
    let app = TestApp::standing();
    let (id, _) = app.job_create("hello").await;
    app.draining.cancel();
    let refused = app.post("/api/jobs", r#"{"request":"hello"}"#).await;
    refused.is_problem(503, "shutting_down");
    app.get(&format!("/api/jobs/{id}")).await.ok(200);
}

#[tokio::test]
async fn a_draining_server_keeps_no_connection_open() {
    let app = TestApp::standing();
    for path in ["/healthz", "/api/pool", "/nothing"] {
        assert_eq!(app.get(path).await.header("connection"), "", "{path}");
    }
    app.draining.cancel();
    for path in ["/healthz", "/readyz", "/api/pool", "/nothing"] {
        assert_eq!(app.get(path).await.header("connection"), "close", "{path}");
    }
    let refused = app.post("/api/jobs", r#"{"request":"hello"}"#).await;
    assert_eq!((refused.status, refused.header("connection")), (503, "close"));
}
