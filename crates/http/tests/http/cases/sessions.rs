//! Sessions: paid once, spent request by request.

use crate::app::{Answer, Options, TestApp, key};
use crate::shapes::unclaimed;
use base64::Engine as _;
use futures_util::StreamExt;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tithe_engine::Settings;
use tithe_money::Sats;
use tithe_paywall::{Caveat, Limit, Macaroon, Period};

/// An open session.
struct TestSession<'a> {
    app: &'a TestApp,
    id: String,
    macaroon: String,
}

impl<'a> TestSession<'a> {
    async fn unpaid(app: &'a TestApp, body: Value) -> (Self, String) {
        let created = app.post("/api/sessions", body.to_string()).await.ok(201);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        assert_eq!(created["state"], "awaiting_payment");
        let session = Self { app, id: text(&created["sessionId"]), macaroon: text(&created["macaroon"]) };
        (session, text(&created["invoice"]["paymentHash"]))
    }

    async fn open(app: &'a TestApp, sats: u64) -> Self {
        let (session, hash) = Self::unpaid(app, json!({ "amountSats": sats })).await;
        app.pay(&hash).await;
        session
    }

    fn as_(&self, macaroon: &str, method: Method, path: &str) -> RequestBuilder {
        let path = format!("/api/sessions/{}{path}", self.id);
        self.app.request(method, &path).header("Authorization", format!("Bearer {macaroon}"))
    }

    async fn get(&self, path: &str) -> Answer {
        self.app.send(self.as_(&self.macaroon, Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.app.send(self.as_(&self.macaroon, Method::POST, path).body(body.to_string())).await
    }

    async fn ask_with(&self, macaroon: &str, text: &str) -> Answer {
        let body = json!({ "request": text, "maxOutputTokens": 100 }).to_string();
        self.app.send(self.as_(macaroon, Method::POST, "/request").body(body)).await
    }

    async fn ask(&self, text: &str) -> Answer {
        self.ask_with(&self.macaroon, text).await
    }

    async fn balance(&self) -> u64 {
        let session = self.get("").await.ok(200);
        assert_eq!(session["heldMsats"], 0, "{session}");
        session["balanceMsats"].as_u64().unwrap()
    }

    fn narrowed(&self, caveats: &[Caveat]) -> String {
        let own = Macaroon::parse(&self.macaroon).unwrap();
        caveats.iter().fold(own, |macaroon, caveat| macaroon.narrow(caveat).unwrap()).encode()
    }
}

fn msats(amount: u64) -> tithe_money::Msats {
    tithe_money::Msats::new(amount).unwrap()
}

#[tokio::test]
async fn a_session_is_paid_for_spent_topped_up_and_closed() {
    let app = TestApp::new();
    let (session, hash) = TestSession::unpaid(&app, json!({ "amount_sats": 500 })).await;
    session.ask("hello").await.is_problem(402, "session_unpaid");
    session.post("/topup", json!({ "amountSats": 500 })).await.is_problem(402, "session_unpaid");
    session.post("/close", json!({})).await.is_problem(402, "session_unpaid");
    app.pay(&hash).await;
    let open = session.get("").await.ok(200);
    assert_eq!(
        (&open["state"], &open["balanceSats"], &open["spentMsats"]),
        (&json!("active"), &json!(500), &json!(0))
    );

    let answer = session.ask("Why is the sky blue?").await;
    let reply = answer.ok(200);
    assert_eq!((&reply["state"], &reply["finishReason"]), (&json!("complete"), &json!("stop")));
    let cost = reply["costMsats"].as_u64().unwrap();
    assert!(cost > 0 && reply["debitedMsats"] == cost && reply["balanceMsats"] == 500_000 - cost, "{reply}");
    assert_eq!(answer.header("x-tithe-balance-msats"), (500_000 - cost).to_string());
    assert_eq!(answer.header("x-tithe-cost-msats"), cost.to_string());
    assert_eq!(session.balance().await, 500_000 - cost);

    let topped = session.post("/topup", json!({ "amountSats": 300 })).await.ok(201);
    let again = session.post("/topup", json!({ "amountSats": 400 })).await;
    again.is_problem(409, "top_up_pending");
    assert_eq!(again.json()["pendingTopup"], topped["pendingTopup"]);
    assert_eq!(session.get("").await.ok(200)["pendingTopup"], topped["pendingTopup"]);
    app.pay(topped["pendingTopup"]["paymentHash"].as_str().unwrap()).await;
    assert_eq!(session.balance().await, 800_000 - cost);

    let closed = session.post("/close", json!({})).await.ok(202);
    assert_eq!(closed["state"], "closed");
    assert_eq!(closed["refund"], unclaimed((800_000 - cost) / 1_000));
    assert_eq!(session.post("/close", json!({})).await.ok(202), closed, "closing again changes nothing");
    session.ask("hello").await.is_problem(409, "session_ended");
    session.post("/topup", json!({ "amountSats": 300 })).await.is_problem(409, "session_ended");
    let read = session.get("").await.ok(200);
    assert_eq!((&read["state"], &read["balanceMsats"]), (&json!("closed"), &json!(0)));
    assert_eq!(read["spentMsats"], cost);

    let history = session.get("/requests").await.ok(200);
    let requests = history["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 1);
    assert_eq!((&requests[0]["result"], &requests[0]["requestId"]), (&reply["result"], &reply["requestId"]));
}

#[tokio::test]
async fn what_fails_costs_nothing_and_what_is_rejected_costs_its_evaluation() {
    let app = TestApp::new();
    let session = TestSession::open(&app, 1_000).await;
    for (text, status, code) in [
        ("[sim:fail]", 502, "work_failed"),
        ("[sim:die]", 502, "work_failed"),
        ("[sim:fail-evaluation]", 502, "work_failed"),
        ("[sim:refuse]", 422, "request_refused"),
    ] {
        session.ask(text).await.is_problem(status, code);
        assert_eq!(session.balance().await, 1_000_000, "{text}");
    }
    let mut left = 1_000_000;
    // A model that was run has earned its fee, also when its answer cannot be read.
    for (text, reason) in
        [("[sim:reject]", "told to reject this"), ("[sim:nonsense-evaluation]", "could not be evaluated")]
    {
        let rejected = session.ask(text).await;
        rejected.is_problem(422, "request_rejected");
        let body = rejected.json();
        let cost = body["debitedMsats"].as_u64().unwrap();
        left -= cost;
        assert!(cost > 0 && body["balanceMsats"] == left, "{body}");
        assert!(body["reason"].as_str().unwrap().contains(reason), "{body}");
        assert_eq!(session.balance().await, left);
    }
    for (body, field) in [
        (json!({}), "request: missing field"),
        (json!({ "request": " " }), "request: empty"),
        (json!({ "request": "a", "model": "other" }), "model: not offered"),
        (json!({ "request": "a", "maxOutputTokens": 0 }), "maxOutputTokens: out of range"),
        (json!({ "request": "a", "maxOutputTokens": "1" }), "maxOutputTokens: invalid type"),
    ] {
        let refused = session.post("/request", body).await;
        refused.is_problem(400, "invalid_field");
        assert!(refused.detail().starts_with(field), "{}", refused.detail());
    }
    let states: Vec<String> = session.get("/requests?limit=20").await.ok(200)["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|request| request["state"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(states, ["rejected", "rejected", "failed", "failed", "failed", "failed"]);
}

#[tokio::test]
async fn a_balance_that_is_too_low_says_what_is_missing_and_shortens_answers() {
    let app = TestApp::new();
    let session = TestSession::open(&app, 100).await;
    let body = json!({ "request": "hello", "maxOutputTokens": 4_096, "model": "sim-large" });
    let refused = session.post("/request", body).await;
    refused.is_problem(402, "insufficient_balance");
    let body = refused.json();
    assert_eq!((&body["reason"], &body["balanceSats"]), (&json!("balance"), &json!(100)));
    let required = body["requiredSats"].as_u64().unwrap();
    assert!(required > 100 && body["topUp"]["amountSats"] == (required - 100).max(100), "{body}");
    // Without a limit, the answer is as long as the balance allows.
    let reply = session.post("/request", json!({ "request": "hello", "model": "sim-large" })).await.ok(200);
    assert!(reply["balanceMsats"].as_u64().unwrap() < 100_000, "{reply}");
    for (amount, status) in
        [(json!(0), 400), (json!(1), 400), (json!(-1), 400), (json!(99), 400), (json!(1e9), 400)]
    {
        session.post("/topup", json!({ "amountSats": amount })).await.is_problem(status, "invalid_field");
        app.post("/api/sessions", json!({ "amountSats": amount }).to_string())
            .await
            .is_problem(400, "invalid_field");
    }
    app.post("/api/sessions", json!({ "amountSats": 1_000_001 }).to_string())
        .await
        .is_problem(400, "invalid_field");
}

#[tokio::test]
async fn only_macaroons_of_the_session_open_it() {
    let app = TestApp::new();
    let (session, other) = (TestSession::open(&app, 500).await, TestSession::open(&app, 500).await);
    let path = format!("/api/sessions/{}", session.id);
    app.get(&path).await.is_problem(401, "macaroon_required");
    session.ask_with(&other.macaroon, "hello").await.is_problem(403, "wrong_session");
    let own = &session.macaroon;
    let middle = own.len() / 2;
    let mut changed = own.clone().into_bytes();
    changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    let foreign =
        Macaroon::mint(&tithe_paywall::RootKey::derive(b"another secret", b"x"), "tithe", b"x").unwrap();
    let expired_key = {
        let ours = Macaroon::parse(own).unwrap();
        ours.narrow(&"expires=1".parse().unwrap()).unwrap().encode()
    };
    for wrong in [&own[..own.len() - 1], &own[1..], &changed, &foreign.encode(), &expired_key, "", "x"] {
        session.ask_with(wrong, "hello").await.is_problem(401, "invalid_macaroon");
    }
    for (authorization, status) in [
        (format!("L402 {own}:{}", "00".repeat(32)), 200),
        (format!("LSAT {own}:{}", "00".repeat(32)), 200),
        (format!("L402 {own}"), 401),
        (format!("L402 {own}:beef"), 401),
        (format!("bearer   {own}"), 200),
        (format!("Basic {own}"), 401),
    ] {
        let answer = app.send(app.request(Method::GET, &path).header("Authorization", &authorization)).await;
        assert_eq!(answer.status, status, "{authorization}: {}", answer.text);
    }
    let twice = session.as_(own, Method::GET, "").header("Authorization", format!("Bearer {own}"));
    assert_eq!(app.send(twice).await.status, 401);
    let beside = session.as_(own, Method::GET, "").header("X-Nostr-Token", "forged");
    app.send(beside).await.is_problem(401, "invalid_identity");
    for id in ["nothing", "00000000-0000-0000-0000-00000000000g"] {
        let request = app.request(Method::GET, &format!("/api/sessions/{id}"));
        app.send(request.header("Authorization", format!("Bearer {own}")))
            .await
            .is_problem(400, "invalid_field");
    }
    assert_eq!(session.balance().await, 500_000);
}

#[tokio::test]
async fn a_narrowed_macaroon_does_less_and_its_owner_sees_and_revokes_it() {
    let app = TestApp::new();
    let session = TestSession::open(&app, 10_000).await;
    let small = session.narrowed(&[Caveat::models(["sim-small"]).unwrap()]);
    session.ask_with(&small, "hello").await.is_problem(403, "model_not_allowed");
    let two = session.narrowed(&[Limit::Requests(2).into()]);
    // A child counts against its parent's limit.
    let child = Macaroon::parse(&two).unwrap();
    let child = child.narrow(&Limit::Period(Period::Day, msats(900_000)).into()).unwrap().encode();
    session.ask_with(&two, "one").await.ok(200);
    let cost = session.ask_with(&child, "two").await.ok(200)["debitedMsats"].clone();
    for macaroon in [&two, &child] {
        let refused = session.ask_with(macaroon, "three").await;
        refused.is_problem(402, "key_limit_reached");
        assert_eq!(refused.json()["reason"], "cap");
    }
    let poor = session.narrowed(&[Limit::Total(msats(1)).into()]);
    session.ask_with(&poor, "hello").await.is_problem(402, "key_limit_reached");

    // The owner sees what was used, and revokes it with what was narrowed from it.
    for path in ["/keys", "/requests"] {
        app.send(session.as_(&two, Method::GET, path)).await.is_problem(403, "owner_required");
    }
    app.send(session.as_(&two, Method::POST, "/close")).await.is_problem(403, "owner_required");
    let keys = session.get("/keys").await.ok(200);
    let keys = keys["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert_eq!((&keys[0]["caveats"], &keys[0]["requests"]), (&json!(["max_requests=2"]), &json!(2)));
    assert_eq!((&keys[1]["parentKeyId"], &keys[1]["spentMsats"]), (&keys[0]["keyId"], &cost));
    let generous = session.narrowed(&[Limit::Requests(9).into()]);
    session.ask_with(&generous, "hello").await.ok(200);
    let grandchild = Macaroon::parse(&generous).unwrap().narrow(&Limit::Requests(5).into()).unwrap().encode();
    let key = Macaroon::parse(&generous).unwrap().key_id();
    let revoke = |key: &str| session.as_(&session.macaroon, Method::DELETE, &format!("/keys/{key}"));
    let revoked = app.send(revoke(&key.to_string())).await.ok(200);
    assert!(revoked["revokedAt"].is_string(), "{revoked}");
    for macaroon in [&generous, &grandchild] {
        session.ask_with(macaroon, "hello").await.is_problem(401, "invalid_macaroon");
    }
    app.send(revoke(&"0".repeat(32))).await.is_problem(404, "not_found");
    app.send(revoke("0")).await.is_problem(400, "invalid_field");
    session.ask("the owner goes on").await.ok(200);
}

#[tokio::test]
async fn the_same_keyed_request_is_answered_and_charged_once() {
    let app = TestApp::new();
    let session = TestSession::open(&app, 10_000).await;
    let narrowed = session.narrowed(&[Limit::Requests(9).into()]);
    let send = async |macaroon: &str, text: &str| {
        let request = session.as_(macaroon, Method::POST, "/request").header("Idempotency-Key", "1");
        let body = json!({ "request": text, "maxOutputTokens": 100 }).to_string();
        app.send(request.body(body)).await
    };
    let (one, two) = tokio::join!(send(&session.macaroon, "hello"), send(&session.macaroon, "hello"));
    assert!([200, 409].contains(&one.status) && [200, 409].contains(&two.status), "{one:?} {two:?}");
    let first = send(&session.macaroon, "hello").await;
    let again = send(&session.macaroon, "hello").await;
    assert_eq!((first.ok(200), again.header("idempotency-replayed")), (again.ok(200), "true"));
    send(&session.macaroon, "another").await.is_problem(409, "idempotency_key_reused");
    let cost = first.json()["debitedMsats"].as_u64().unwrap();
    assert_eq!(session.balance().await, 10_000_000 - cost);
    // The holder of another macaroon of the session has other keys.
    let other = send(&narrowed, "hello").await.ok(200);
    assert_ne!(other["requestId"], first.json()["requestId"]);
    let create = async || {
        let request =
            app.request(Method::POST, "/api/sessions").header("Idempotency-Key", "0123456789abcdef");
        app.send(request.body(r#"{"amountSats":500}"#)).await
    };
    assert_eq!(create().await.ok(201), create().await.ok(201));
}

#[tokio::test]
async fn a_stream_delivers_the_answer_and_ends_with_what_it_cost() {
    let app = TestApp::new();
    let session = TestSession::open(&app, 10_000).await;
    let stream = async |text: &str| {
        let request = session.as_(&session.macaroon, Method::POST, "/request");
        let body = json!({ "request": text, "maxOutputTokens": 100 }).to_string();
        request.header("Accept", "text/event-stream").body(body).send().await.unwrap()
    };
    let text = stream("Why is the sky blue?").await.text().await.unwrap();
    let events: Vec<(&str, Value)> = text
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("event: ")?.split_once("\ndata: "))
        .map(|(name, data)| (name, serde_json::from_str(data).unwrap()))
        .collect();
    let (last, deltas) = events.split_last().unwrap();
    let streamed: String = deltas.iter().map(|(_, data)| data["text"].as_str().unwrap()).collect();
    assert!(last.0 == "done" && deltas.iter().all(|(name, _)| *name == "delta"), "{text}");
    assert_eq!(last.1["result"], streamed);
    assert_eq!(session.balance().await, last.1["balanceMsats"].as_u64().unwrap());
    // What ends before any text is an ordinary response; what ends later is an event.
    assert_eq!(stream("[sim:reject]").await.status(), 422);
    assert_eq!(stream("[sim:fail]").await.status(), 502);
    let before = session.balance().await;
    let died = stream("[sim:die]").await;
    assert_eq!(died.status(), 200);
    assert!(died.text().await.unwrap().contains("event: error\ndata: {"));
    assert_eq!(session.balance().await, before, "what was cut off costs nothing");
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_is_charged_once_for_what_it_got() {
    let app = TestApp::new();
    let session = TestSession::open(&app, 10_000).await;
    let request = session.as_(&session.macaroon, Method::POST, "/request");
    let body = json!({ "request": "[sim:slow=50] Why is the sky blue?", "maxOutputTokens": 100 }).to_string();
    let response = request.header("Accept", "text/event-stream").body(body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut bytes = response.bytes_stream();
    bytes.next().await.unwrap().unwrap();
    drop(bytes);
    let began = Instant::now();
    let ended = loop {
        let history = session.get("/requests").await.ok(200);
        if history["requests"][0]["state"] != "running" {
            break history["requests"][0].clone();
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{history}");
        tokio::task::yield_now().await;
    };
    assert_eq!(
        (&ended["state"], &ended["finishReason"]),
        (&json!("complete"), &json!("interrupted")),
        "{ended}"
    );
    let whole = session.ask("[sim:slow=0] Why is the sky blue?").await.ok(200);
    let (part, all) =
        (ended["usage"]["outputTokens"].as_u64().unwrap(), whole["usage"]["outputTokens"].as_u64());
    assert!(part > 0 && part < all.unwrap(), "{part} of {all:?}");
    let (charged, cost) = (ended["debitedMsats"].as_u64().unwrap(), whole["debitedMsats"].as_u64().unwrap());
    assert_eq!(session.balance().await, 10_000_000 - charged - cost);
}

#[tokio::test]
async fn a_hundred_requests_at_once_run_exactly_as_often_as_the_balance_allows() {
    let app = TestApp::new();
    let probe = TestSession::open(&app, 10_000).await;
    let cost = probe.ask("hello").await.ok(200)["costMsats"].as_u64().unwrap();
    let session = TestSession::open(&app, 100).await;
    let answers = futures_util::future::join_all((0..100).map(|_| session.ask("hello"))).await;
    let done = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(answers.iter().all(|answer| [200, 402].contains(&answer.status)), "{answers:?}");
    let done = u64::try_from(done).unwrap();
    assert!(done >= 1, "{answers:?}");
    assert_eq!(session.balance().await, 100_000 - done * cost);
    // What is left does not cover another.
    let mut more = 0;
    while session.ask("hello").await.status == 200 {
        more += 1;
    }
    assert_eq!(session.balance().await, 100_000 - (done + more) * cost);
}

#[tokio::test]
async fn the_pool_pays_for_the_session_of_an_identity_that_has_a_budget() {
    let mut settings = crate::app::settings();
    settings.rules.free_tier.budgets.new = Sats::new(1_000).unwrap();
    let app = TestApp::with(Options { settings, ..Options::default() });
    let token = app.login(&key(1)).await;
    let (session, hash) = TestSession::unpaid(&app, json!({ "amountSats": 500, "nostr_token": token })).await;
    app.pay(&hash).await;
    let reply = session.ask("hello").await.ok(200);
    assert_eq!((&reply["free_tier"], &reply["debitedMsats"]), (&json!(true), &json!(0)), "{reply}");
    assert_eq!(reply["trust_tier"], "new");
    assert_eq!(session.balance().await, 500_000);
}

#[tokio::test]
async fn sessions_that_nobody_pays_for_expire_and_count_only_until_then() {
    let settings = Settings { max_unpaid_per_origin: 2, ..crate::app::settings() };
    let app = TestApp::with(Options { settings, started: false, manual_clock: true, ..Options::default() });
    let (first, hash) = TestSession::unpaid(&app, json!({ "amountSats": 500 })).await;
    let (second, _) = TestSession::unpaid(&app, json!({ "amountSats": 500 })).await;
    let third = app.post("/api/sessions", r#"{"amountSats":500}"#).await;
    third.is_problem(429, "too_many_unpaid");
    // Whoever pays has room again.
    app.pay(&hash).await;
    assert_eq!(first.get("").await.ok(200)["state"], "active");
    TestSession::unpaid(&app, json!({ "amountSats": 500 })).await;
    app.clock.advance(Duration::from_mins(11));
    let engine = app.engine.clone();
    app.on_runtime(async move { engine.payments.poll().await.unwrap() }).await;
    assert_eq!(second.get("").await.ok(200)["state"], "expired");
    second.ask("hello").await.is_problem(409, "session_ended");
    // Nobody uses the first one: it ends, and is refunded.
    app.clock.advance(Settings::default().session_idle);
    let engine = app.engine.clone();
    app.on_runtime(async move { engine.sweep().await.unwrap() }).await;
    let expired = first.get("").await.ok(200);
    assert_eq!((&expired["state"], &expired["refund"]["amountSats"]), (&json!("expired"), &json!(500)));
}

#[tokio::test]
async fn the_owner_is_warned_at_each_level_in_signed_messages() {
    let receiver = wiremock::MockServer::start().await;
    let (ok, wrong) = (wiremock::ResponseTemplate::new(204), wiremock::ResponseTemplate::new(500));
    // The first message is lost, and sent again.
    wiremock::Mock::given(wiremock::matchers::any())
        .respond_with(wrong)
        .up_to_n_times(1)
        .mount(&receiver)
        .await;
    wiremock::Mock::given(wiremock::matchers::any()).respond_with(ok).mount(&receiver).await;
    let app = TestApp::new();
    let body = json!({ "amountSats": 500, "webhookUrl": format!("{}/hook", receiver.uri()) });
    let created = app.post("/api/sessions", body.to_string()).await.ok(201);
    let secret = created["webhookSecret"].as_str().unwrap().strip_prefix("whsec_").unwrap().to_owned();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let session =
        TestSession { app: &app, id: text(&created["sessionId"]), macaroon: text(&created["macaroon"]) };
    app.pay(&text(&created["invoice"]["paymentHash"])).await;
    let narrow = session.narrowed(&[Caveat::Limit(Limit::Requests(2))]);
    let read = session.get("").await.ok(200);
    assert_eq!(
        (&read["webhookUrl"], &read["webhookSecret"]),
        (&json!(format!("{}/hook", receiver.uri())), &created["webhookSecret"])
    );
    session.ask_with(&narrow, "one").await.ok(200);
    let messages_of = async |count: usize| {
        let waiting = async {
            loop {
                let requests = receiver.received_requests().await.unwrap();
                if requests.len() >= count {
                    return requests;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), waiting).await.unwrap()
    };
    let messages = messages_of(2).await;
    session.ask_with(&narrow, "two").await.ok(200);
    let messages = [messages, messages_of(3).await.split_off(2)].concat();
    let mut told = Vec::new();
    for message in &messages {
        let header = |name: &str| message.headers.get(name).unwrap().to_str().unwrap().to_owned();
        let body = String::from_utf8(message.body.clone()).unwrap();
        // What the owner does with it.
        let signed = format!("{}.{}.{body}", header("webhook-id"), header("webhook-timestamp"));
        let key = base64::engine::general_purpose::STANDARD.decode(&secret).unwrap();
        let mut mac = <hmac::Hmac<sha2::Sha256> as hmac::KeyInit>::new_from_slice(&key).unwrap();
        hmac::Mac::update(&mut mac, signed.as_bytes());
        let signature = hmac::Mac::finalize(mac).into_bytes();
        let signature = base64::engine::general_purpose::STANDARD.encode(signature);
        assert_eq!(header("webhook-signature"), format!("v1,{signature}"));
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (&body["type"], &body["data"]["sessionId"]),
            (&json!("session.key.usage"), &json!(session.id))
        );
        assert_eq!(body["data"]["limit"], "max_requests=2");
        told.push((header("webhook-id"), body["data"]["usedPercent"].as_u64().unwrap()));
    }
    assert_eq!(told.iter().map(|(_, percent)| *percent).collect::<Vec<_>>(), [50, 50, 100]);
    assert_eq!(told[0].0, told[1].0, "the same message again");

    let app = TestApp::with(Options { webhooks: tithe_webhook::Destinations::Public, ..Options::default() });
    for (url, reason) in [
        ("http://example.com/", "webhookUrl: invalid URL: expected https://…"),
        ("https://127.0.0.1/", "webhookUrl: private address"),
        ("https://user:password@example.com/", "webhookUrl: unexpected credentials"),
        ("nonsense", "webhookUrl: invalid URL"),
    ] {
        let body = json!({ "amountSats": 500, "webhookUrl": url });
        let refused = app.post("/api/sessions", body.to_string()).await;
        refused.is_problem(400, "invalid_field");
        assert!(refused.detail().starts_with(reason), "{url}: {}", refused.detail());
    }
    let created = app.post("/api/sessions", json!({ "amountSats": 500 }).to_string()).await.ok(201);
    assert_eq!(created["webhookSecret"], Value::Null);
}
