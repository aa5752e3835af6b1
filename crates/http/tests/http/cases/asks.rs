//! Plain requests, paid for by whoever can.

use crate::app::{Answer, Options, TestApp, install, key};
use crate::shapes::{answers, has_shape};
use futures_util::StreamExt;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tithe_engine::{Hardware, Settings};
use tithe_inference::{OpenAiCompatible, OpenAiSettings, SimInference};
use tithe_ledger::credits::{Counted, Plans, Quota};
use tithe_money::Sats;

/// Settings under which an install without a licence has this quota for life.
fn quota(requests: u64, cloud: Option<u64>) -> Settings {
    let mut settings = crate::app::settings();
    let core = Quota { counted: Counted::Lifetime, requests: Some(requests), cloud };
    settings.credits.plans = Plans { core, ..Plans::default() };
    settings
}

/// The same, and the pool pays for new identities.
fn generous(requests: u64) -> Settings {
    let mut settings = quota(requests, None);
    settings.rules.free_tier.budgets.new = Sats::new(1_000).unwrap();
    settings
}

fn app(settings: Settings) -> TestApp {
    TestApp::with(Options { settings, ..Options::default() })
}

fn with_hardware(settings: Settings, inference: Arc<dyn tithe_engine::inference::Inference>) -> TestApp {
    let hardware = Some(Hardware { inference, model: "sim-small".to_owned() });
    TestApp::with(Options { settings, hardware, ..Options::default() })
}

/// A paid session: its id and its macaroon.
async fn session(app: &TestApp) -> (String, String) {
    let created = app.post("/api/sessions", json!({ "amountSats": 5_000 }).to_string()).await.ok(201);
    app.pay(created["invoice"]["paymentHash"].as_str().unwrap()).await;
    let text = |name: &str| created[name].as_str().unwrap().to_owned();
    (text("sessionId"), text("macaroon"))
}

async fn balance(app: &TestApp, (id, macaroon): &(String, String)) -> Value {
    let request = app.request(Method::GET, &format!("/api/sessions/{id}"));
    app.send(request.header("Authorization", format!("Bearer {macaroon}"))).await.ok(200)["balanceMsats"]
        .clone()
}

fn reply_shape(more: &Value) -> Value {
    let mut shape = json!({
        "requestId": "uuid", "state": "=complete", "result": "text", "finishReason": "=stop",
        "usage": {"inputTokens": "count", "cachedInputTokens": "count", "outputTokens": "count"},
        "model": "=sim-large", "backend": "=cloud", "costMsats": "count", "debitedSats": 0, "debitedMsats": 0,
        "free_tier": false, "absorbed_sats": 0, "trust_tier": "=anonymous",
    });
    let fields = shape.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    shape
}

/// A 402 that says what a request costs, and how to pay for it.
fn stops(answer: &Answer, code: &str, reason: &str) -> Value {
    answer.is_problem(402, code);
    let body = answer.json();
    assert_eq!((&body["reason"], &body["balanceSats"]), (&json!(reason), &json!(0)), "{body}");
    let (sats, msats) = (body["requiredSats"].as_u64().unwrap(), body["requiredMsats"].as_u64().unwrap());
    assert!(msats > 0 && sats == msats.div_ceil(1_000), "{body}");
    let top_up = &body["topUp"];
    assert_eq!((&top_up["method"], &top_up["path"]), (&json!("POST"), &json!("/api/sessions")));
    assert!(top_up["amountSats"].as_u64().unwrap() >= sats, "{body}");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("retry-after"), "", "waiting does not help");
    body
}

#[tokio::test]
async fn an_installs_plan_includes_requests_until_it_is_used_up() {
    let app = app(quota(2, None));
    let id = install(1);
    let answer = app.ask_of(&id, "Why is the sky blue?").await;
    let credits = json!({"plan": "=core", "remaining": 1, "cloudRemaining": null, "renewsAt": null});
    let reply = answers(&answer, 200, &reply_shape(&json!({ "credits": credits })));
    let cost = reply["costMsats"].as_u64().unwrap();
    assert!(cost > 0, "{reply}");
    assert_eq!(answer.header("x-tithe-backend"), "cloud");
    assert_eq!(answer.header("x-tithe-cost-msats"), cost.to_string());
    assert_eq!((answer.header("x-tithe-balance-msats"), answer.header("cache-control")), ("", "no-store"));
    assert_eq!(app.ask_of(&id, "hello").await.ok(200)["credits"]["remaining"], 0);
    let refused = app.ask_of(&id, "hello").await;
    let body = stops(&refused, "out_of_credits", "cap");
    let credits = json!({"plan": "core", "remaining": 0, "cloudRemaining": null, "renewsAt": null});
    assert_eq!(body["credits"], credits);
    assert_eq!(app.credits_taken(&id).await, (0, 2));
    // The way on that the response names works.
    let amount = json!({ "amountSats": body["topUp"]["amountSats"] }).to_string();
    app.post("/api/sessions", amount).await.ok(201);
}

#[tokio::test]
async fn a_request_without_a_payer_costs_what_the_response_says() {
    let app = app(crate::app::settings());
    let before = app.rows().await;
    let body = stops(&app.send(app.asking("hello")).await, "payment_required", "no_payment");
    assert_eq!(body.get("credits"), None);
    // The pool pays nothing for new identities here.
    let token = app.login(&key(1)).await;
    let refused = app.send(app.asking("hello").header("X-Nostr-Token", &token)).await;
    stops(&refused, "payment_required", "no_payment");
    let streamed = app.send(app.asking("hello").header("Accept", "text/event-stream")).await;
    stops(&streamed, "payment_required", "no_payment");
    // A key protects nothing here, however short.
    let keyed = app.send(app.asking("hello").header("Idempotency-Key", "1")).await;
    stops(&keyed, "payment_required", "no_payment");
    for table in ["credits", "install_credits", "install_origins", "transfers"] {
        assert_eq!(app.rows().await.get(table), before.get(table), "{table}");
    }
}

#[tokio::test]
async fn bodies_are_checked_and_nothing_is_taken() {
    let app = app(crate::app::settings());
    let id = install(1);
    for (body, field) in [
        (json!({}), "request: missing field"),
        (json!({ "request": " " }), "request: empty"),
        (json!({ "request": 1 }), "request: invalid type"),
        (json!({ "request": "a", "model": "other" }), "model: not included in the plans of installs"),
        (json!({ "request": "a", "model": "sim-small" }), "model: not included in the plans of installs"),
        (json!({ "request": "a", "maxOutputTokens": 0 }), "maxOutputTokens: out of range"),
    ] {
        let request = app.request(Method::POST, "/api/ask").header("X-Install-Id", &id);
        let refused = app.send(request.body(body.to_string())).await;
        refused.is_problem(400, "invalid_field");
        assert!(refused.detail().starts_with(field), "{}", refused.detail());
    }
    let request = app.request(Method::POST, "/api/ask").header("X-Install-Id", &id);
    app.send(request.body("no json")).await.is_problem(400, "invalid_body");
    assert_eq!(app.credits_taken(&id).await, (0, 0));
    app.draining.cancel();
    app.ask_of(&id, "hello").await.is_problem(503, "shutting_down");
}

#[tokio::test]
async fn a_session_pays_before_an_install_and_an_install_before_the_pool() {
    let app = app(generous(1));
    let id = install(1);
    let session = session(&app).await;
    let token = app.login(&key(1)).await;
    let all = |request: RequestBuilder| {
        let request = request.header("Authorization", format!("Bearer {}", session.1));
        request.header("X-Install-Id", &id).header("X-Nostr-Token", &token)
    };
    let answer = app.send(all(app.asking("hello"))).await;
    let paid = answer.ok(200);
    let debited = paid["debitedMsats"].as_u64().unwrap();
    assert!(debited > 0 && paid["balanceMsats"] == 5_000_000 - debited, "{paid}");
    assert_eq!(answer.header("x-tithe-balance-msats"), (5_000_000 - debited).to_string());
    let direct = app.request(Method::POST, &format!("/api/sessions/{}/request", session.0));
    let direct = direct.header("Authorization", format!("L402 {}:{}", session.1, "00".repeat(32)));
    let body = json!({ "request": "hello", "maxOutputTokens": 100 }).to_string();
    let direct = app.send(direct.body(body)).await.ok(200);
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&paid), fields(&direct));
    assert_eq!(app.credits_taken(&id).await, (0, 0));

    let without_session =
        |request: RequestBuilder| request.header("X-Install-Id", &id).header("X-Nostr-Token", &token);
    let of_plan = app.send(without_session(app.asking("hello"))).await.ok(200);
    assert_eq!((&of_plan["credits"]["remaining"], &of_plan["free_tier"]), (&json!(0), &json!(false)));
    assert_eq!(app.pool().await["grantedTodayMsats"], 0);

    let answer = app.send(without_session(app.asking("hello"))).await;
    let shape = reply_shape(&json!({"free_tier": true, "absorbed_sats": "count", "trust_tier": "=new"}));
    let free = answers(&answer, 200, &shape);
    let (cost, absorbed) = (free["costMsats"].as_u64().unwrap(), free["absorbed_sats"].as_u64().unwrap());
    assert!(cost > 0 && absorbed == cost.div_ceil(1_000), "{free}");
    assert_eq!(app.pool().await["grantedTodayMsats"], cost);
    assert_eq!(answer.header("x-tithe-backend"), "cloud");
    stops(&app.ask_of(&id, "hello").await, "out_of_credits", "cap");
    let in_body = json!({ "request": "hello", "maxOutputTokens": 100, "nostr_token": token }).to_string();
    assert_eq!(app.post("/api/ask", in_body).await.ok(200)["free_tier"], true);
}

#[tokio::test]
async fn whatever_comes_beside_the_payer_must_be_valid() {
    let app = app(generous(5));
    let id = install(1);
    let session = session(&app).await;
    let of_session = || app.asking("hello").header("Authorization", format!("Bearer {}", session.1));
    app.send(of_session().header("X-Nostr-Token", "forged")).await.is_problem(401, "invalid_identity");
    app.send(of_session().header("X-Install-Id", "1")).await.is_problem(400, "invalid_field");
    app.send(of_session().header("X-License", "1")).await.is_problem(400, "invalid_field");
    let licensed = of_session().header("X-Install-Id", &id).header("X-License", "v1.a.b");
    app.send(licensed).await.is_problem(401, "invalid_licence");
    let twice = of_session().header("Authorization", format!("Bearer {}", session.1));
    assert_eq!(app.send(twice).await.status, 401);
    let forged = app.asking("hello").header("Authorization", "Bearer forged").header("X-Install-Id", &id);
    app.send(forged).await.is_problem(401, "invalid_macaroon");
    assert_eq!(balance(&app, &session).await, 5_000_000);
    assert_eq!(app.credits_taken(&id).await, (0, 0));
}

#[tokio::test]
async fn a_revoked_licence_stops_a_request_that_a_session_pays_for() {
    let mut settings = crate::app::settings();
    let signer = crate::app::licence_key(1);
    settings.credits.licence_keys = tithe_licences::LicenceKeys::new([signer.verifying_key()]);
    let app = app(settings);
    let session = session(&app).await;
    let (id, now) = (install(1), app.now());
    let times = (now, now + Duration::from_hours(1));
    let (licence, token) = crate::app::licence(&signer, &id, tithe_ledger::credits::Plan::Pro, times);
    let send = async || {
        let request = app.asking("hello").header("Authorization", format!("Bearer {}", session.1));
        app.send(request.header("X-Install-Id", &id).header("X-License", &token)).await
    };
    send().await.ok(200);
    let engine = app.engine.clone();
    app.on_runtime(async move { engine.credits.licence_revoke(licence, String::new()).await.unwrap() }).await;
    let before = balance(&app, &session).await;
    send().await.is_problem(401, "invalid_licence");
    assert_eq!(balance(&app, &session).await, before);
}

#[tokio::test]
async fn a_signed_request_is_paid_for_by_the_pool_once() {
    let app = app(generous(0));
    let body = json!({ "request": "hello", "maxOutputTokens": 100 }).to_string();
    let signature = app.signature(&key(1), "POST", "/api/ask", &body);
    let send = async |name: Option<&str>| {
        let request = app.request(Method::POST, "/api/ask").header("Authorization", &signature);
        let request = name.into_iter().fold(request, |request, name| request.header("Idempotency-Key", name));
        app.send(request.body(body.clone())).await
    };
    let first = send(Some("a")).await;
    let cost = first.ok(200)["costMsats"].clone();
    let again = send(Some("a")).await;
    assert_eq!((again.status, &again.text), (200, &first.text));
    assert_eq!((again.header("idempotency-replayed"), again.header("x-tithe-backend")), ("true", "cloud"));
    send(Some("b")).await.is_problem(401, "invalid_identity");
    send(None).await.is_problem(401, "invalid_identity");
    assert_eq!(app.pool().await["grantedTodayMsats"], cost);
    // What the evaluation rejects costs nothing.
    let token = app.login(&key(2)).await;
    let rejected = app.send(app.asking("[sim:reject]").header("X-Nostr-Token", &token)).await;
    rejected.is_problem(422, "request_rejected");
    assert_eq!((&rejected.json()["debitedMsats"], rejected.header("cache-control")), (&json!(0), "no-store"));
    assert_eq!(app.pool().await["grantedTodayMsats"], cost);
}

#[tokio::test]
async fn the_same_keyed_request_takes_one_credit() {
    let app = app(quota(10, None));
    let id = install(1);
    let send = async |install: &str, text: &str| {
        app.send(app.asking(text).header("X-Install-Id", install).header("Idempotency-Key", "1")).await
    };
    let (one, two) = tokio::join!(send(&id, "hello"), send(&id, "hello"));
    assert!([200, 409].contains(&one.status) && [200, 409].contains(&two.status), "{one:?} {two:?}");
    let first = send(&id, "hello").await;
    let again = send(&id, "hello").await;
    assert_eq!((first.ok(200), again.header("idempotency-replayed")), (again.ok(200), "true"));
    assert_eq!(again.header("x-tithe-backend"), "cloud");
    send(&id, "another").await.is_problem(409, "idempotency_key_reused");
    assert_eq!(app.credits_taken(&id).await, (0, 1));
    let stream = app.asking("hello").header("X-Install-Id", &id).header("Idempotency-Key", "1");
    let streamed = stream.header("Accept", "text/event-stream").send().await.unwrap();
    assert_eq!(streamed.headers()["idempotency-replayed"], "true");
    assert_eq!(streamed.text().await.unwrap(), format!("event: done\ndata: {}\n\n", first.text));
    // The keys of another install are its own, also with the same identity beside.
    assert_ne!(send(&install(2), "hello").await.ok(200)["requestId"], first.json()["requestId"]);
    // A failure frees the key.
    let failing = || app.asking("[sim:fail]").header("X-Install-Id", &id).header("Idempotency-Key", "2");
    for _ in 0..2 {
        app.send(failing()).await.is_problem(502, "work_failed");
    }
    assert_eq!(app.credits_taken(&id).await, (0, 1));
}

/// Anybody chooses the id of an install, so a key that an install alone has begun proves no identity's consent.
#[tokio::test]
async fn a_key_that_an_install_has_begun_is_not_continued_with_an_old_signature() {
    let app = TestApp::with(Options { settings: generous(1), manual_clock: true, ..Options::default() });
    let body = json!({ "request": "[sim:fail] hello", "maxOutputTokens": 100 }).to_string();
    let signed = || app.signature(&key(1), "POST", "/api/ask", &body);
    let (used, old) = (signed(), signed());
    let id = install(1);
    let send = async |key: &str, signature: Option<&str>| {
        let request = app.request(Method::POST, "/api/ask").body(body.clone());
        let request = request.header("X-Install-Id", &id).header("Idempotency-Key", key);
        app.send(match signature {
            Some(signature) => request.header("Authorization", signature),
            None => request,
        })
        .await
    };
    // The request of the install fails, so that its key is begun and free, and then it has no credit left.
    send("a key", None).await.is_problem(502, "work_failed");
    app.ask_of(&id, "hello").await.ok(200);
    // The owner of the signatures uses one of them.
    send("their key", Some(&used)).await.is_problem(502, "work_failed");
    send("a key", Some(&used)).await.is_problem(401, "invalid_identity");
    app.clock.advance(Duration::from_mins(5));
    send("a key", Some(&old)).await.is_problem(401, "invalid_identity");
    send("a key", Some(&signed())).await.is_problem(502, "work_failed");
}

#[tokio::test]
async fn a_hundred_requests_at_once_take_exactly_the_ten_credits_that_are_left() {
    let app = app(quota(10, None));
    let id = install(1);
    let answers = futures_util::future::join_all((0..100).map(|_| app.ask_of(&id, "hello"))).await;
    let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(200), count(402)), (10, 90), "{answers:?}");
    assert_eq!(app.credits_taken(&id).await, (0, 10));
    assert_eq!(app.credits(&id).await["remaining"], 0);
}

#[tokio::test]
async fn the_cloud_does_its_share_and_hardware_the_rest() {
    let app = with_hardware(quota(10, Some(4)), Arc::new(SimInference::default()));
    let id = install(1);
    let mut backends = Vec::new();
    for _ in 0..10 {
        let answer = app.ask_of(&id, "hello").await;
        let reply = answer.ok(200);
        assert_eq!(answer.header("x-tithe-backend"), reply["backend"]);
        backends.push((reply["backend"].clone(), reply["model"].clone()));
    }
    let (cloud, hardware) = ((json!("cloud"), json!("sim-large")), (json!("hardware"), json!("sim-small")));
    assert_eq!(backends, [vec![cloud; 4], vec![hardware; 6]].concat());
    let refused = app.ask_of(&id, "hello").await;
    let body = stops(&refused, "out_of_credits", "cap");
    let credits = json!({"plan": "core", "remaining": 0, "cloudRemaining": 0, "renewsAt": null});
    assert_eq!(body["credits"], credits);
    let other = install(2);
    let answers = futures_util::future::join_all((0..20).map(|_| app.ask_of(&other, "hello"))).await;
    let ran = |backend: &str| answers.iter().filter(|a| a.header("x-tithe-backend") == backend).count();
    assert_eq!((ran("cloud"), ran("hardware")), (4, 6));
}

#[tokio::test]
async fn without_hardware_the_cap_of_the_cloud_is_the_end() {
    let app = app(quota(10, Some(1)));
    let id = install(1);
    app.ask_of(&id, "hello").await.ok(200);
    let body = stops(&app.ask_of(&id, "hello").await, "cloud_cap_exceeded_no_hardware", "cap");
    let credits = json!({"plan": "core", "remaining": 9, "cloudRemaining": 0, "renewsAt": null});
    assert_eq!(body["credits"], credits);
    assert_eq!(app.credits_taken(&id).await, (0, 1));
}

#[tokio::test]
async fn hardware_that_is_down_gives_the_credit_back() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = OpenAiSettings::new(format!("http://{closed}/v1").parse().unwrap(), None);
    let down = Arc::new(OpenAiCompatible::new(settings).unwrap());
    let app = with_hardware(quota(10, Some(1)), down);
    let id = install(1);
    app.ask_of(&id, "hello").await.ok(200);
    for accept in ["application/json", "text/event-stream"] {
        let request = app.asking("hello").header("X-Install-Id", &id).header("Accept", accept);
        let refused = app.send(request).await;
        refused.is_problem(503, "hardware_unavailable");
        assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
        assert_eq!(app.credits_taken(&id).await, (0, 1));
    }
    assert_eq!(app.credits(&id).await["remaining"], 9);
}

#[tokio::test]
async fn a_backend_that_fails_gives_the_credit_back() {
    let app = app(quota(10, None));
    let id = install(1);
    for (text, status, code) in [
        ("[sim:fail]", 502, "work_failed"),
        ("[sim:die]", 502, "work_failed"),
        ("[sim:refuse]", 422, "request_refused"),
    ] {
        let failed = app.ask_of(&id, text).await;
        failed.is_problem(status, code);
        assert_eq!(failed.header("cache-control"), "no-store");
        assert_eq!(app.credits_taken(&id).await, (0, 0), "{text}");
    }
    assert_eq!(app.credits(&id).await["remaining"], 10);
}

#[tokio::test]
async fn a_stream_delivers_the_answer_and_ends_with_what_is_left() {
    let app = app(quota(10, None));
    let id = install(1);
    let stream = async |text: &str| {
        let request = app.asking(text).header("X-Install-Id", &id);
        request.header("Accept", "text/event-stream").send().await.unwrap()
    };
    let response = stream("Why is the sky blue?").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let text = response.text().await.unwrap();
    let events: Vec<(&str, Value)> = text
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("event: ")?.split_once("\ndata: "))
        .map(|(name, data)| (name, serde_json::from_str(data).unwrap()))
        .collect();
    let (last, deltas) = events.split_last().unwrap();
    let streamed: String = deltas.iter().map(|(_, data)| data["text"].as_str().unwrap()).collect();
    assert!(last.0 == "done" && deltas.iter().all(|(name, _)| *name == "delta"), "{text}");
    assert!(!streamed.is_empty() && last.1["result"] == streamed.as_str(), "{text}");
    let credits = json!({"plan": "=core", "remaining": 9, "cloudRemaining": null, "renewsAt": null});
    has_shape(&last.1, &reply_shape(&json!({ "credits": credits })));
    // What ends before any text is an ordinary response; what ends later is an event.
    assert_eq!(stream("[sim:fail]").await.status(), 502);
    let died = stream("[sim:die]").await;
    assert_eq!(died.status(), 200);
    assert!(died.text().await.unwrap().contains("event: error\ndata: {"));
    assert_eq!(app.credits_taken(&id).await, (0, 1), "what was cut off takes nothing");
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_has_used_its_credit_and_nothing_stays_reserved() {
    let app = app(quota(10, None));
    let id = install(1);
    let request = app.asking("[sim:slow=50] Why is the sky blue?").header("X-Install-Id", &id);
    let response = request.header("Accept", "text/event-stream").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut bytes = response.bytes_stream();
    bytes.next().await.unwrap().unwrap();
    assert_eq!(app.credits_taken(&id).await, (1, 0));
    drop(bytes);
    let began = Instant::now();
    while app.credits_taken(&id).await != (0, 1) {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", app.credits_taken(&id).await);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_a_whole_answer_finds_it_under_its_key() {
    let app = app(quota(10, None));
    let id = install(1);
    let request = || {
        let request = app.asking("[sim:slow=20] hello").header("X-Install-Id", &id);
        request.header("Idempotency-Key", "1")
    };
    request().timeout(Duration::from_millis(50)).send().await.unwrap_err();
    let began = Instant::now();
    let found = loop {
        let answer = app.send(request()).await;
        if answer.status == 200 {
            break answer;
        }
        answer.is_problem(409, "request_in_progress");
        assert!(began.elapsed() < Duration::from_secs(20));
    };
    assert_eq!(found.json()["finishReason"], "stop");
    assert_eq!(app.credits_taken(&id).await, (0, 1));
}
