//! HTTP as the world speaks it.

use crate::app::{TestApp, key};
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;

const HELLO: &str = r#"{"request":"hello"}"#;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn bodies_may_be_compressed_with_gzip_and_nothing_else() {
    let app = TestApp::standing();
    let post = |encoding: &str, body: Vec<u8>| {
        app.request(Method::POST, "/api/jobs").header("Content-Encoding", encoding).body(body)
    };
    for encoding in ["gzip", "GZIP", "x-gzip"] {
        app.send(post(encoding, gzip(HELLO.as_bytes()))).await.ok(201);
    }
    app.send(post("identity", HELLO.into())).await.ok(201);
    for encoding in ["br", "deflate", "zstd", "gzip, gzip"] {
        let refused = app.send(post(encoding, gzip(HELLO.as_bytes()))).await;
        refused.is_problem(415, "unsupported_media_type");
        assert!(refused.detail().contains("expected gzip or none"), "{}", refused.detail());
    }
    app.send(post("gzip", HELLO.into())).await.is_problem(400, "invalid_body");
    // What becomes too large when it is decompressed is too large.
    let bomb = gzip(format!("{{\"request\":\"{}\"}}", "x".repeat(50_000_000)).as_bytes());
    assert!(bomb.len() < 1024 * 1024);
    app.send(post("gzip", bomb)).await.is_problem(413, "body_too_large");
    assert_eq!(app.jobs_count().await, 4);
}

#[tokio::test]
async fn bodies_are_json_by_whatever_name() {
    let app = TestApp::standing();
    let post = |kind: &str| app.request(Method::POST, "/api/jobs").header("Content-Type", kind).body(HELLO);
    for kind in
        ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/x+json"]
    {
        app.send(post(kind)).await.ok(201);
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x"] {
        let refused = app.send(post(kind)).await;
        refused.is_problem(415, "unsupported_media_type");
        assert!(refused.detail().contains("expected application/json"), "{}", refused.detail());
    }
    app.post("/api/jobs", format!("\u{feff}{HELLO}")).await.ok(201);
}

#[tokio::test]
async fn a_client_that_excludes_every_encoding_gets_plain_text() {
    let app = TestApp::standing();
    for path in ["/openapi.json", "/docs/"] {
        for (accepted, encoding) in [
            ("identity;q=0", ""),
            ("*;q=0", ""),
            ("br, identity;q=0", ""),
            ("gzip, identity;q=0", "gzip"),
            ("gzip;q=0", ""),
            ("gzip;q=wrong, ,", ""),
        ] {
            let request = app.request(Method::GET, path).header("Accept-Encoding", accepted);
            let answer = app.send(request).await;
            assert_eq!(answer.status, 200, "{accepted}");
            assert_eq!(answer.header("content-encoding"), encoding, "{accepted}");
        }
    }
}

#[tokio::test]
async fn pages_are_readable_cached_compressed_and_framed_by_nobody() {
    let app = TestApp::standing();
    for path in ["/docs/", "/docs/index.html", "/openapi.json", "/docs/swagger-ui-bundle.js"] {
        let whole = app.get(path).await;
        assert_eq!(whole.status, 200, "{path}");
        assert_eq!(whole.header("x-frame-options"), "DENY");
        assert_eq!(whole.header("content-security-policy"), "frame-ancestors 'none'");
        assert!(whole.header("cache-control").contains("max-age="), "{path}");
        let head = app.send(app.request(Method::HEAD, path)).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
        let tag = whole.header("etag").to_owned();
        let again = app.send(app.request(Method::GET, path).header("If-None-Match", &tag)).await;
        assert_eq!((again.status, again.text.as_str()), (304, ""), "{path}");
        let small = app.request(Method::GET, path).header("Accept-Encoding", "gzip").send().await.unwrap();
        assert_eq!(small.headers()["content-encoding"], "gzip", "{path}");
        assert!(small.bytes().await.unwrap().len() < whole.text.len() / 2, "{path}");
    }
    let page = app.get("/docs/").await;
    assert!(page.text.contains("<title>Tithe API</title>"), "{}", page.text);
    app.get("/docs/nothing.js").await.is_problem(404, "not_found");
}

#[tokio::test]
async fn whatever_headers_an_sdk_adds_a_browser_may_send() {
    let app = TestApp::standing();
    let request = app
        .request(Method::OPTIONS, "/api/jobs")
        .header("Origin", "https://app.example")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization,x-stainless-retry-count,x-my-own");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let allowed = answer.headers()["access-control-allow-headers"].to_str().unwrap().to_ascii_lowercase();
    assert!(
        allowed == "*" || (allowed.contains("x-stainless-retry-count") && allowed.contains("x-my-own")),
        "{allowed}"
    );
}

#[tokio::test]
async fn a_created_job_says_where_it_is_and_nobody_stores_it() {
    let app = TestApp::standing();
    let created = app.job_ask_keyed("hello", "key").await;
    let id = created.json()["jobId"].as_str().unwrap().to_owned();
    assert_eq!(created.header("location"), format!("/api/jobs/{id}"));
    assert_eq!(created.header("cache-control"), "no-store");
    let replayed = app.job_ask_keyed("hello", "key").await;
    assert_eq!(replayed.header("location"), created.header("location"));
    let read = app.get(created.header("location")).await;
    assert_eq!((read.status, read.header("cache-control")), (200, "no-store"));
    let hash = created.json()["evalInvoice"]["paymentHash"].as_str().unwrap().to_owned();
    assert_eq!(app.get(&format!("/api/invoices/{hash}")).await.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_reader_may_wait_for_the_next_change() {
    let app = TestApp::new();
    let (id, hash) = app.job_create("hello").await;
    let path = format!("/api/jobs/{id}");
    let wait = async |seconds: u64| {
        let request =
            app.request(Method::GET, &path).header("Prefer", format!("respond-async, wait={seconds}"));
        let answer = app.send(request).await;
        assert_eq!(answer.header("preference-applied"), format!("wait={seconds}"));
        answer.ok(200)
    };
    let began = std::time::Instant::now();
    assert_eq!(wait(1).await["state"], "awaiting_eval_payment");
    assert!(began.elapsed() >= Duration::from_secs(1));
    let (changed, _) = tokio::join!(wait(20), app.pay(&hash));
    assert_ne!(changed["state"], "awaiting_eval_payment");
    let done = app.job_complete("hello").await;
    let ended = app.request(Method::GET, &format!("/api/jobs/{}", done["jobId"].as_str().unwrap()));
    let began = std::time::Instant::now();
    app.send(ended.header("Prefer", "wait=20")).await.ok(200);
    assert!(began.elapsed() < Duration::from_secs(10), "an ended job does not change");
}

#[tokio::test]
async fn an_identity_lists_its_jobs() {
    let app = TestApp::standing();
    app.get("/api/jobs").await.is_problem(401, "identity_required");
    let (mine, other) = (app.login(&key(1)).await, app.login(&key(2)).await);
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(app.job_create_as(&mine, &format!("question {n}")).await.0);
        app.clock.advance(Duration::from_millis(1));
    }
    app.job_create_as(&other, "not mine").await;
    ids.reverse();
    let mut seen = Vec::new();
    let mut path = "/api/jobs?limit=2".to_owned();
    loop {
        let page = app.get_as(&mine, &path).await;
        assert_eq!(page.header("cache-control"), "no-store");
        let page = page.ok(200);
        let jobs = page["jobs"].as_array().unwrap();
        assert!(jobs.len() <= 2 && jobs.iter().all(|job| job["state"] == "awaiting_eval_payment"));
        seen.extend(jobs.iter().map(|job| job["jobId"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("/api/jobs?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ids);
    for wrong in ["limit=0", "limit=101", "limit=x", "cursor=x"] {
        app.get_as(&mine, &format!("/api/jobs?{wrong}")).await.is_problem(400, "invalid_field");
    }
}

#[tokio::test]
async fn models_and_their_prices_are_listed_and_named_when_another_is_wanted() {
    let app = TestApp::standing();
    let models = app.get("/api/models").await.ok(200)["models"].clone();
    let names: Vec<&str> =
        models.as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["sim-embedding", "sim-large", "sim-small"]);
    assert_eq!((&models[0]["purpose"], &models[1]["purpose"]), (&json!("embeddings"), &json!("chat")));
    assert_eq!(models[1]["isDefault"], true);
    let pricing = &models[1]["pricing"];
    assert!(pricing["output"]["msats"].as_u64() > pricing["input"]["msats"].as_u64());
    let refused = app.post("/api/jobs", json!({ "request": "hello", "model": "gpt-none" }).to_string()).await;
    refused.is_problem(400, "invalid_field");
    for name in &names[1..] {
        assert!(refused.detail().contains(name), "{}", refused.detail());
    }
    // The price of the list is the price of a quote.
    let text = "word ".repeat(100);
    let estimate = app
        .post("/api/estimate", json!({ "request": text, "maxOutputTokens": 1000 }).to_string())
        .await
        .ok(200);
    let (input, output) =
        (&estimate["tokenEstimate"]["inputTokens"], &estimate["tokenEstimate"]["outputTokens"]);
    let per = |name: &str| pricing[name]["msats"].as_f64().unwrap() / 1e6;
    let expected = per("input") * input.as_f64().unwrap() + per("output") * output.as_f64().unwrap();
    let fee = estimate["evaluationFeeSats"].as_f64().unwrap() * 1e3;
    let quoted = estimate["estimatedMsats"].as_f64().unwrap() - fee;
    assert!((quoted - expected).abs() < 5.0, "{quoted} against {expected}");
}

#[tokio::test]
async fn an_estimate_is_the_same_sum_in_every_currency() {
    let app = TestApp::standing();
    let estimate = app.get("/api/estimate?request=hello").await.ok(200);
    let usd = estimate["estimatedCostUsd"].as_f64().unwrap();
    let msats = estimate["estimatedMsats"].as_f64().unwrap();
    let price = estimate["btcPriceUsd"].as_f64().unwrap();
    assert!((usd - msats * price / 1e11).abs() <= 1e-6, "{estimate}");
}

#[tokio::test]
async fn times_have_a_fixed_width() {
    let app = TestApp::standing();
    let job: Value = app.job_ask("hello").await.ok(201);
    for time in [&job["createdAt"], &job["evalInvoice"]["expiresAt"]] {
        assert_eq!(time.as_str().unwrap().len(), "2026-03-01T12:00:00.000000Z".len(), "{time}");
    }
}

#[tokio::test]
async fn old_clients_and_upgrades_get_well_formed_answers() {
    let app = TestApp::standing();
    let old = app.raw(b"GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200 OK\r\n") || old.starts_with("HTTP/1.1 200 OK\r\n"), "{old}");
    assert!(
        old.to_ascii_lowercase().contains("content-length: 15") && old.ends_with(r#"{"status":"ok"}"#),
        "{old}"
    );
    // A body whose length is not known beforehand comes without chunks, and ends with the connection.
    let old = app.raw(b"GET /openapi.json HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n").await;
    let head = old.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
    assert!(head.contains(" 200 ok") && !head.contains("transfer-encoding"), "{head}");
    for upgrade in ["h2c", "websocket"] {
        let asked = format!(
            "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: {upgrade}\r\n\r\n"
        );
        let answer = app.raw(asked.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{upgrade}: {answer}");
    }
}

#[test]
fn no_two_schemas_have_one_name() {
    // Of two, the document would show one for both.
    fn collect(folder: &std::path::Path, names: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, names);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            let mut is_schema = false;
            for line in source.lines().map(str::trim) {
                is_schema |= line.starts_with("#[derive(") && line.contains("ToSchema");
                let item = line.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
                let item = item.trim_start_matches("pub ");
                let begun = item.strip_prefix("struct ").or_else(|| item.strip_prefix("enum "));
                if let Some(item) = begun.filter(|_| is_schema) {
                    names.push(item.chars().take_while(|c| c.is_alphanumeric()).collect());
                    is_schema = false;
                }
            }
        }
    }
    let mut found = Vec::new();
    collect(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 30, "{found:?}");
    found.sort();
    for pair in found.windows(2) {
        assert_ne!(pair[0], pair[1]);
    }
}
