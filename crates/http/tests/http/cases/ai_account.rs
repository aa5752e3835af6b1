//! What a key has, and what its requests cost, as clients of the AI API ask for it.

use crate::app::{AiSession, Ends, Options, Script, TestApp, Wire};
use serde_json::{Value, json};
use tithe_chat::Finish;
use tithe_money::Msats;
use tithe_paywall::{Caveat, Limit, Macaroon};
use tithe_pricing::Usage;

const USED: Usage = Usage { input_tokens: 120, output_tokens: 40, ..Usage::ZERO };

fn script() -> Script {
    Script::of(&["hello"], Ends::Finished(Finish::Stop, Some(USED)))
}

fn narrowed(macaroon: &str, caveats: &[Caveat]) -> String {
    let own = Macaroon::parse(macaroon).unwrap();
    caveats.iter().fold(own, |macaroon, caveat| macaroon.narrow(caveat).unwrap()).encode()
}

/// Asks with this key, and returns the id of the request.
async fn ask(session: &AiSession<'_>, key: &str) -> String {
    let request = session.app.ai_request(Wire::Chat, &Wire::Chat.body("hello", false));
    let answer = session.app.ai_send(request.header("X-Api-Key", key)).await;
    Wire::Chat.read(&answer, false);
    answer.header("x-generation-id").to_owned()
}

/// Dollars and msats say the same, at 100 000 dollars for a bitcoin, rounded up to a micro-dollar.
fn dollars(value: &Value, msats: &Value) {
    let (dollars, msats) = (value.as_f64().unwrap_or_else(|| panic!("{value}")), msats.as_f64().unwrap());
    let exact = msats / 1e11 * 100_000.0;
    assert!(dollars >= exact - 1e-9 && dollars <= exact + 1.1e-6, "{dollars} dollars are {msats} msats");
}

#[tokio::test]
async fn the_credits_of_a_session_are_what_was_paid_in_and_spent() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    let price = app.price(&USED).await;
    for spent in [0, price, price * 2] {
        let credits = session.get("/v1/credits").await.ok(200)["data"].clone();
        assert_eq!(
            (&credits["total_credits_msats"], &credits["total_usage_msats"]),
            (&json!(1_000_000), &json!(spent))
        );
        assert_eq!(
            (&credits["balance_msats"], &credits["held_msats"]),
            (&json!(1_000_000 - spent), &json!(0))
        );
        dollars(&credits["total_credits"], &credits["total_credits_msats"]);
        dollars(&credits["total_usage"], &credits["total_usage_msats"]);
        backend.say(script());
        ask(&session, &session.macaroon).await;
    }
}

#[tokio::test]
async fn what_a_running_request_may_cost_is_shown_as_held() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    let (script, gate) = script().gated(1);
    backend.say(script);
    let body = Wire::Chat.body("hello", false);
    let running = session.ask(Wire::Chat, &body);
    let looking = async {
        gate.reached().await;
        let credits = session.get("/v1/credits").await.ok(200)["data"].clone();
        let key = session.get("/v1/key").await.ok(200)["data"].clone();
        gate.open();
        (credits, key)
    };
    let (answer, (credits, key)) = tokio::join!(running, looking);
    Wire::Chat.read(&answer, false);
    let held = credits["held_msats"].as_u64().unwrap();
    assert!(held >= app.price(&USED).await, "{credits}");
    assert_eq!(key["limit_remaining_msats"], 1_000_000 - held);
    assert_eq!(session.get("/v1/credits").await.ok(200)["data"]["held_msats"], 0);
}

#[tokio::test]
async fn a_key_says_its_limits_and_what_is_left_of_them() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    let price = app.price(&USED).await;
    let owner = session.get("/v1/key").await.ok(200)["data"].clone();
    assert_eq!(
        (&owner["limit"], &owner["limit_msats"], &owner["models"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!((&owner["limit_remaining_msats"], &owner["usage_msats"]), (&json!(1_000_000), &json!(0)));
    assert_eq!(owner["is_free_tier"], false);

    let limit = 100_000;
    let caveats = [Limit::Total(Msats::new(limit).unwrap()).into(), Caveat::models(["sim-large"]).unwrap()];
    let small = narrowed(&session.macaroon, &caveats);
    let read = async |key: &str| app.ai_get(key, "/v1/key").await.ok(200)["data"].clone();
    let unused = read(&small).await;
    assert_eq!((&unused["limit_msats"], &unused["limit_remaining_msats"]), (&json!(limit), &json!(limit)));
    assert_eq!((&unused["usage_msats"], &unused["models"]), (&json!(0), &json!(["sim-large"])));
    dollars(&unused["limit"], &unused["limit_msats"]);

    backend.say(script());
    ask(&session, &small).await;
    let used = read(&small).await;
    assert_eq!(
        (&used["usage_msats"], &used["limit_remaining_msats"]),
        (&json!(price), &json!(limit - price)),
        "{used}"
    );
    dollars(&used["usage"], &used["usage_msats"]);
    dollars(&used["limit_remaining"], &used["limit_remaining_msats"]);
    assert_eq!(used["limit_msats"], limit);

    // A child's limit is no more than what is left of its parent's, and of the balance.
    let child = narrowed(&small, &[Limit::Total(Msats::new(10_000_000).unwrap()).into()]);
    let child = read(&child).await;
    assert_eq!(
        (&child["limit_msats"], &child["limit_remaining_msats"]),
        (&json!(limit), &json!(limit - price)),
        "{child}"
    );
    assert_eq!(read(&session.macaroon).await["usage_msats"], price);
}

#[tokio::test]
async fn the_record_of_a_request_says_what_it_used_and_is_only_for_its_own_keys() {
    let (app, backend) = TestApp::scripted(Options::default());
    let (session, other) = (app.ai_session(1_000).await, app.ai_session(1_000).await);
    let one = narrowed(&session.macaroon, &[Limit::Requests(5).into()]);
    let two = narrowed(&session.macaroon, &[Limit::Requests(6).into()]);
    let usage = Usage {
        input_tokens: 100,
        cached_input_tokens: 20,
        cache_write_tokens: 10,
        output_tokens: 40,
        reasoning_tokens: 15,
        ..Usage::ZERO
    };
    backend.say(Script { ends: Ends::Finished(Finish::Length, Some(usage)), ..script() });
    let of_one = ask(&session, &one).await;
    backend.say(script());
    let of_owner = ask(&session, &session.macaroon).await;
    let read = async |key: &str, id: &str| app.ai_get(key, &format!("/v1/generation?id={id}")).await;

    let record = read(&one, &of_one).await.ok(200)["data"].clone();
    assert_eq!(record["id"], of_one);
    for (name, expected) in [
        ("model", json!("sim-large")),
        ("state", json!("complete")),
        ("finish_reason", json!("length")),
        ("tokens_prompt", json!(100)),
        ("tokens_completion", json!(40)),
        ("native_tokens_cached", json!(20)),
        ("native_tokens_cache_write", json!(10)),
        ("native_tokens_reasoning", json!(15)),
        ("estimated", json!(false)),
        ("cost_msats", json!(app.price(&usage).await)),
        ("charged_msats", json!(app.price(&usage).await)),
        ("absorbed_msats", json!(0)),
    ] {
        assert_eq!(record[name], expected, "{name}");
    }
    dollars(&record["total_cost"], &record["cost_msats"]);
    assert_eq!(read(&session.macaroon, &of_one).await.ok(200)["data"], record, "the owner reads all");
    read(&session.macaroon, &of_owner).await.ok(200);
    for (key, id) in
        [(&one, &of_owner), (&two, &of_one), (&other.macaroon, &of_one), (&other.macaroon, &of_owner)]
    {
        Wire::Chat.refused(&read(key, id).await, 404);
    }
    Wire::Chat.refused(&read(&one, "00000000-0000-0000-0000-000000000000").await, 404);
    for id in ["", "x", "chatcmpl-1"] {
        Wire::Chat.refused(&read(&one, id).await, 400);
    }
    Wire::Chat.refused(&session.get("/v1/generation").await, 400);
    let anthropic =
        app.request(reqwest::Method::GET, "/v1/generation").header("anthropic-version", "2023-06-01");
    Wire::Messages.refused(&app.ai_send(anthropic).await, 401);
}

#[tokio::test]
async fn a_revoked_key_reads_nothing_and_does_nothing() {
    let (app, _sim) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    let key = narrowed(&session.macaroon, &[Limit::Requests(5).into()]);
    let id = ask(&session, &key).await;
    let keys = app.request(reqwest::Method::GET, &format!("/api/sessions/{}/keys", session.id));
    let keys = app.send(keys.header("Authorization", format!("Bearer {}", session.macaroon))).await.ok(200);
    let name = keys["keys"][0]["keyId"].as_str().unwrap_or_else(|| panic!("{keys}")).to_owned();
    let path = format!("/api/sessions/{}/keys/{name}", session.id);
    let revoke = app.request(reqwest::Method::DELETE, &path);
    let revoked = app.send(revoke.header("Authorization", format!("Bearer {}", session.macaroon))).await;
    assert!(revoked.status < 300, "{revoked:?}");
    for path in ["/v1/credits".to_owned(), "/v1/key".to_owned(), format!("/v1/generation?id={id}")] {
        Wire::Chat.refused(&app.ai_get(&key, &path).await, 401);
    }
    for wire in Wire::ALL {
        let request = app.ai_request(wire, &wire.body("hello", false)).header("X-Api-Key", &key);
        wire.refused(&app.ai_send(request).await, 401);
    }
}
