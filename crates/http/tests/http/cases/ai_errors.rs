//! Requests of the AI API that are refused: each API's own shape, never a 5xx for bad input, nothing charged and nothing held.

use crate::app::{AiSession, Answer, Options, TestApp, Wire, install, settings, unlimited};
use reqwest::Method;
use serde_json::{Value, json};
use std::num::NonZeroU32;
use tithe_http::LimitSettings;
use tithe_paywall::{Caveat, Limit, Macaroon};

const PNG: &str = "https://example.com/a.png";

/// The requests that are refused, and the parameter that is wrong.
fn wrong(wire: Wire) -> Vec<(&'static str, Value)> {
    let plain = wire.body("hello", false);
    let with = |name: &str, value: Value| {
        let mut body = plain.clone();
        body[name] = value;
        body
    };
    let without = |name: &str| {
        let mut body = plain.clone();
        body.as_object_mut().unwrap().remove(name);
        body
    };
    let say = |content: Value| json!([{ "role": "user", "content": content }]);
    let mut wrong = vec![("no model", without("model")), ("model is no text", with("model", json!(1)))];
    match wire {
        Wire::Chat => wrong.extend([
            ("no messages", without("messages")),
            ("messages are no list", with("messages", json!("hello"))),
            ("a role that nobody knows", with("messages", json!([{"role": "wizard", "content": "x"}]))),
            ("remote image", with("messages", say(json!([{"type": "image_url", "image_url": {"url": PNG}}])))),
            (
                "image of an unknown type",
                with(
                    "messages",
                    say(json!([{"type": "image_url", "image_url": {"url": "data:image/svg+xml;base64,AAAA"}}])),
                ),
            ),
            ("audio", with("messages", say(json!([{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}])))),
            ("file", with("messages", say(json!([{"type": "file", "file": {"file_id": "file-1"}}])))),
            ("n", with("n", json!(2))),
            ("hosted tool", with("tools", json!([{"type": "web_search"}]))),
            ("a tool without a name", with("tools", json!([{"type": "function", "function": {}}]))),
            ("stream is no flag", with("stream", json!("yes"))),
        ]),
        Wire::Responses => wrong.extend([
            ("no input", without("input")),
            ("input is a number", with("input", json!(1))),
            ("remote image", with("input", say(json!([{"type": "input_image", "image_url": PNG}])))),
            ("file", with("input", say(json!([{"type": "input_file", "file_id": "file-1"}])))),
            ("hosted tool", with("tools", json!([{"type": "file_search", "vector_store_ids": ["x"]}]))),
            ("an earlier response", with("previous_response_id", json!("resp_1"))),
            ("background", with("background", json!(true))),
            ("stream is no flag", with("stream", json!("yes"))),
        ]),
        Wire::Messages => wrong.extend([
            ("no messages", without("messages")),
            ("no limit", without("max_tokens")),
            ("messages are no list", with("messages", json!("hello"))),
            (
                "remote image",
                with("messages", say(json!([{"type": "image", "source": {"type": "url", "url": PNG}}]))),
            ),
            ("hosted tool", with("tools", json!([{"type": "web_search_20250305", "name": "web_search"}]))),
            ("stream is no flag", with("stream", json!("yes"))),
        ]),
    }
    wrong
}

/// Nothing was charged to the session, nothing is held, and no request of it was recorded.
async fn untouched(session: &AiSession<'_>, sats: u64) {
    assert_eq!(session.balance().await, sats * 1_000);
    let request = session.app.request(Method::GET, &format!("/api/sessions/{}/requests", session.id));
    let request = request.header("Authorization", format!("Bearer {}", session.macaroon));
    assert_eq!(session.app.send(request).await.ok(200)["requests"], json!([]));
}

fn narrowed(session: &AiSession<'_>, caveat: &Caveat) -> String {
    Macaroon::parse(&session.macaroon).unwrap().narrow(caveat).unwrap().encode()
}

async fn ask(app: &TestApp, key: &str, wire: Wire, stream: bool) -> Answer {
    let request = app.ai_request(wire, &wire.body("hello", stream));
    app.ai_send(request.header("Authorization", format!("Bearer {key}"))).await
}

#[tokio::test]
async fn what_cannot_be_read_or_priced_is_refused_and_costs_nothing() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    for wire in Wire::ALL {
        for (what, body) in wrong(wire) {
            let answer = session.ask(wire, &body).await;
            assert_eq!(answer.status, 400, "{wire:?}, {what}: {}", answer.text);
            let error = wire.refused(&answer, 400);
            if wire != Wire::Messages {
                assert!(error["param"].is_string(), "{wire:?}, {what}: {error}");
            }
        }
        for body in
            ["", "{", "no json", "[]", "null", "1", "\"text\"", "{\"model\":\"sim-large\"", "\u{0}", "{}"]
        {
            let request = app.request(Method::POST, wire.path()).body(body);
            let request = request.header("Authorization", format!("Bearer {}", session.macaroon));
            let answer = app.ai_send(request).await;
            assert_eq!(answer.status, 400, "{wire:?} {body:?}: {}", answer.text);
            wire.refused(&answer, 400);
        }
        let request = app.request(Method::POST, wire.path()).body(&b"{\"model\":\"\xff\xfe\"}"[..]);
        wire.refused(&app.ai_send(request).await, 400);
        let deep = format!("{{\"model\":\"sim-large\",\"messages\":{}", "[".repeat(100_000));
        wire.refused(&app.ai_send(app.request(Method::POST, wire.path()).body(deep)).await, 400);
        let typed = app.ai_request(wire, &wire.body("hello", false)).header("Content-Type", "text/plain");
        wire.refused(&app.ai_send(typed).await, 415);
    }
    untouched(&session, 1_000).await;
    assert_eq!(backend.asked(), 0);
}

#[tokio::test]
async fn an_unknown_model_is_a_404_that_names_it() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    for wire in Wire::ALL {
        for stream in [false, true] {
            for name in ["gpt-9", "", "../../etc/passwd", "sim-hardware", "gpt-4o-mini"] {
                let mut body = wire.body("hello", stream);
                body["model"] = name.into();
                let answer = session.ask(wire, &body).await;
                if name.is_empty() && answer.status == 400 {
                    wire.refused(&answer, 400);
                    continue;
                }
                let error = wire.refused(&answer, 404);
                if wire != Wire::Messages {
                    assert_eq!(
                        (&error["code"], &error["param"]),
                        (&json!("model_not_found"), &json!("model"))
                    );
                }
                assert!(error["message"].as_str().unwrap().contains(name), "{error}");
            }
        }
    }
    untouched(&session, 1_000).await;
    assert_eq!(backend.asked(), 0);
}

/// Agents recognize a prompt that does not fit, and shorten it.
#[tokio::test]
async fn a_prompt_that_does_not_fit_says_so_in_words_that_agents_know() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(100_000).await;
    let long = "word ".repeat(140_000);
    for wire in Wire::ALL {
        for stream in [false, true] {
            let error = wire.refused(&session.ask(wire, &wire.body(&long, stream)).await, 400);
            let message = error["message"].as_str().unwrap();
            assert!(message.starts_with("prompt is too long: ") && message.contains(" maximum"), "{message}");
            if wire != Wire::Messages {
                assert_eq!(error["code"], "context_length_exceeded");
            }
        }
    }
    untouched(&session, 100_000).await;
    assert_eq!(backend.asked(), 0);
}

#[tokio::test]
async fn a_wrong_key_is_a_401_also_where_others_would_pay() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    let cut = &session.macaroon[..session.macaroon.len() - 1];
    for wire in Wire::ALL {
        for stream in [false, true] {
            for key in ["sk-proj-0123456789", cut, "x", "NONE", "00000000-0000-0000-0000-000000000000"] {
                wire.refused(&ask(&app, key, wire, stream).await, 401);
                let request = app.ai_request(wire, &wire.body("hello", stream)).header("X-Api-Key", key);
                wire.refused(&app.ai_send(request.header("X-Install-Id", install(1))).await, 401);
            }
            let basic =
                app.ai_request(wire, &wire.body("hello", stream)).header("Authorization", "Basic eDp5");
            let answer = app.ai_send(basic).await;
            assert!(matches!(answer.status, 401 | 402), "{answer:?}");
        }
        // Both of Anthropic's headers, as its SDK sends them; and twice the same is not one.
        let both = session.request(wire, &wire.body("hello", false)).header("X-Api-Key", "none");
        assert_eq!(app.ai_send(both).await.status, 200);
        let twice = session.request(wire, &wire.body("hello", false));
        let twice = twice.header("Authorization", format!("Bearer {}", session.macaroon));
        wire.refused(&app.ai_send(twice).await, 401);
    }
    assert_eq!(app.credits_taken(&install(1)).await, (0, 0));
    assert_eq!(backend.asked(), 3);
}

#[tokio::test]
async fn a_key_may_be_in_either_header() {
    let (app, _sim) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    for wire in Wire::ALL {
        let bearer = session.ask(wire, &wire.body("hello", false)).await;
        wire.read(&bearer, false);
        let request = app.ai_request(wire, &wire.body("hello", false)).header("X-Api-Key", &session.macaroon);
        let read = wire.read(&app.ai_send(request).await, false);
        assert!(read.cost() > 0);
    }
}

/// A 402 says why, so that programs stop; and its words do not make agents shorten their chat.
#[tokio::test]
async fn without_a_payer_a_402_says_what_is_required_and_how_to_pay() {
    let (app, backend) = TestApp::scripted(Options::default());
    for wire in Wire::ALL {
        for stream in [false, true] {
            for key in [None, Some("none")] {
                let mut request = app.ai_request(wire, &wire.body("hello", stream));
                if let Some(key) = key {
                    request =
                        request.header("Authorization", format!("Bearer {key}")).header("X-Api-Key", key);
                }
                let answer = app.ai_send(request).await;
                let error = wire.refused(&answer, 402);
                let metadata = &error["metadata"];
                assert_eq!(
                    (&metadata["reason"], &metadata["code"]),
                    (&json!("no_payment"), &json!("payment_required"))
                );
                assert_eq!(metadata["balanceSats"], 0);
                let required = metadata["requiredSats"].as_u64().unwrap();
                assert!(required > 0, "{metadata}");
                let top_up = &metadata["topUp"];
                assert_eq!((&top_up["method"], &top_up["path"]), (&json!("POST"), &json!("/api/sessions")));
                assert!(top_up["amountSats"].as_u64().unwrap() >= required);
                assert_eq!(answer.header("cache-control"), "no-store");
            }
        }
    }
    assert_eq!(backend.asked(), 0);
}

#[tokio::test]
async fn a_session_that_cannot_pay_says_why() {
    let (app, backend) = TestApp::scripted(Options::default());
    let created = app.post("/api/sessions", json!({ "amountSats": 100 }).to_string()).await.ok(201);
    let unpaid = created["macaroon"].as_str().unwrap();
    let closed = app.ai_session(1_000).await;
    let request = app.request(Method::POST, &format!("/api/sessions/{}/close", closed.id)).body("{}");
    app.send(request.header("Authorization", format!("Bearer {}", closed.macaroon))).await.ok(202);
    let poor = app.ai_session(100).await;
    let long = "word ".repeat(50_000);
    for wire in Wire::ALL {
        for stream in [false, true] {
            let error = wire.refused(&ask(&app, unpaid, wire, stream).await, 402);
            assert_eq!(error["metadata"]["reason"], "no_payment", "{error}");
            assert_eq!(error["metadata"]["code"], "session_unpaid", "{error}");
            let path = format!("/api/sessions/{}", created["sessionId"].as_str().unwrap());
            assert_eq!(error["metadata"]["topUp"], json!({ "method": "GET", "path": path }));

            // A 409 would be tried again.
            let error = wire.refused(&ask(&app, &closed.macaroon, wire, stream).await, 402);
            assert_eq!(error["metadata"]["reason"], "expired", "{error}");

            let error = wire.refused(&poor.ask(wire, &wire.body(&long, stream)).await, 402);
            let metadata = &error["metadata"];
            assert_eq!(
                (&metadata["reason"], &metadata["balanceSats"]),
                (&json!("balance"), &json!(100)),
                "{error}"
            );
            let required = metadata["requiredSats"].as_u64().unwrap();
            // No top-up can be less than 100 sats.
            assert!(
                required > 100 && metadata["topUp"]["amountSats"] == (required - 100).max(100),
                "{metadata}"
            );
            assert_eq!(metadata["topUp"]["path"], format!("/api/sessions/{}/topup", poor.id));
        }
    }
    untouched(&poor, 100).await;
    assert_eq!(backend.asked(), 0);
}

#[tokio::test]
async fn a_narrowed_key_does_no_more_than_it_may() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(5_000).await;
    let other_model = narrowed(&session, &Caveat::models(["sim-small"]).unwrap());
    let no_money = narrowed(&session, &Limit::Total(tithe_money::Msats::new(1).unwrap()).into());
    let one = narrowed(&session, &Limit::Requests(1).into());
    for wire in Wire::ALL {
        for stream in [false, true] {
            let error = wire.refused(&ask(&app, &other_model, wire, stream).await, 403);
            assert_eq!(error["metadata"]["code"], "model_not_allowed");
            let error = wire.refused(&ask(&app, &no_money, wire, stream).await, 402);
            assert_eq!(
                (&error["metadata"]["reason"], &error["metadata"]["code"]),
                (&json!("cap"), &json!("key_limit_reached"))
            );
            assert!(error["metadata"]["requiredSats"].as_u64().unwrap() > 0, "{error}");
            assert_eq!(error["metadata"]["balanceSats"], 0, "{error}");
        }
    }
    untouched(&session, 5_000).await;
    assert_eq!(backend.asked(), 0);
    assert_eq!(ask(&app, &one, Wire::Chat, false).await.status, 200);
    for wire in Wire::ALL {
        let error = wire.refused(&ask(&app, &one, wire, false).await, 402);
        assert_eq!(error["metadata"]["reason"], "cap");
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_a_413_and_one_below_it_is_read() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    let mib = 1024 * 1024;
    for wire in Wire::ALL {
        let mut body = wire.body("hello", false);
        body["metadata"] = json!({ "note": "x".repeat(32 * mib) });
        wire.refused(&session.ask(wire, &body).await, 413);
    }
    untouched(&session, 1_000).await;
    assert_eq!(backend.asked(), 0);
    for wire in Wire::ALL {
        let mut body = wire.body("hello", false);
        body["metadata"] = json!({ "note": "x".repeat(2 * mib) });
        wire.read(&session.ask(wire, &body).await, false);
    }
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist_are_errors_of_the_api_that_is_spoken() {
    let (app, _sim) = TestApp::scripted(Options::default());
    let get = async |path: &str| app.ai_send(app.request(Method::GET, path)).await;
    for path in
        ["/v1/nothing", "/v1/chat", "/v1/assistants", "/v1/chat/completions/", "/v1/models/nothing/at/all"]
    {
        Wire::Chat.refused(&get(path).await, 404);
        let request = app.request(Method::POST, path).header("anthropic-version", "2023-06-01");
        let answer = app.ai_send(request.body("{}")).await;
        assert!(matches!(answer.status, 404 | 405), "{answer:?}");
        Wire::Messages.refused(&answer, answer.status);
    }
    Wire::Messages.refused(&get("/v1/messages/nothing").await, 404);
    for wire in Wire::ALL {
        for method in [Method::PUT, Method::DELETE, Method::PATCH] {
            let answer = app.ai_send(app.request(method, wire.path())).await;
            wire.refused(&answer, 405);
            assert_eq!(answer.header("allow"), "GET, HEAD, POST");
        }
        // The challenge of a session.
        wire.refused(&get(wire.path()).await, 402);
    }
    Wire::Chat.refused(&app.ai_send(app.request(Method::POST, "/v1/models").body("{}")).await, 405);
    for path in ["/v1/credits", "/v1/key", "/v1/generation?id=00000000-0000-0000-0000-000000000000"] {
        Wire::Chat.refused(&get(path).await, 401);
        Wire::Chat.refused(&app.ai_get("sk-proj-0123456789", path).await, 401);
    }
    // Claude Code asks whether the server is there.
    let head = app.client.head(app.url("/")).send().await.unwrap();
    assert!(head.status().as_u16() < 500, "{head:?}");
}

#[tokio::test]
async fn too_many_requests_are_a_429_that_says_when_to_come_again() {
    let limits = LimitSettings { requests_per_second: NonZeroU32::new(1), ..unlimited() };
    for wire in Wire::ALL {
        let app = TestApp::with(Options { limits: limits.clone(), ..Options::default() });
        let mut refused = 0;
        for n in 0..30 {
            // The same one would be refused more and more slowly.
            let body = wire.body(&format!("hello {n}"), false);
            let answer = app.ai_send(app.ai_request(wire, &body)).await;
            if answer.status == 429 {
                wire.refused(&answer, 429);
                refused += 1;
            } else {
                wire.refused(&answer, 402);
            }
        }
        assert!(refused >= 15, "{refused} of 30 were refused");
    }
}

#[tokio::test]
async fn too_many_streams_are_a_429() {
    let limits = LimitSettings { streams_per_address: 0, ..unlimited() };
    let (app, backend) = TestApp::scripted(Options { limits, ..Options::default() });
    let session = app.ai_session(1_000).await;
    for wire in Wire::ALL {
        wire.refused(&session.ask(wire, &wire.body("hello", true)).await, 429);
    }
    untouched(&session, 1_000).await;
    assert_eq!(backend.asked(), 0);
}

#[tokio::test]
async fn a_server_that_is_about_to_stop_refuses_with_a_503() {
    let settings = settings();
    let (app, backend) = TestApp::scripted(Options { settings, ..Options::default() });
    let session = app.ai_session(1_000).await;
    app.draining.cancel();
    for wire in Wire::ALL {
        for stream in [false, true] {
            let error = wire.refused(&session.ask(wire, &wire.body("hello", stream)).await, 503);
            assert_eq!(error["metadata"]["code"], "shutting_down");
            let of_install =
                app.ai_request(wire, &wire.body("hello", stream)).header("X-Install-Id", install(1));
            wire.refused(&app.ai_send(of_install).await, 503);
        }
    }
    untouched(&session, 1_000).await;
    assert_eq!(backend.asked(), 0);
    // What is free of charge is still answered.
    app.ai_send(app.request(Method::GET, "/v1/models")).await.ok(200);
}

/// What the backend refuses for its content, and what nobody can price now.
#[tokio::test]
async fn refusals_of_the_backend_and_a_missing_price_cost_nothing() {
    let app = TestApp::new();
    let session = app.ai_session(1_000).await;
    for wire in Wire::ALL {
        for stream in [false, true] {
            let error = wire.refused(&session.ask(wire, &wire.body("[sim:refuse]", stream)).await, 422);
            assert!(!error["message"].as_str().unwrap().contains("sim"), "{error}");
        }
    }
    app.prices.switch_off(true);
    for wire in Wire::ALL {
        for stream in [false, true] {
            wire.refused(&session.ask(wire, &wire.body("hello", stream)).await, 503);
        }
    }
    Wire::Chat.refused(&app.ai_send(app.request(Method::GET, "/v1/models")).await, 503);
    app.prices.switch_off(false);
    assert_eq!(session.balance().await, 1_000_000);
}

/// Whatever is not known goes to the backend or is ignored.
#[tokio::test]
async fn unknown_fields_and_harmless_values_are_never_refused() {
    let (app, _sim) = TestApp::scripted(Options::default());
    let session = app.ai_session(10_000).await;
    for wire in Wire::ALL {
        for (name, value) in [
            ("frobnicate", json!({ "deep": [1, 2, {"x": null}] })),
            ("user", json!("me")),
            ("metadata", json!({ "user_id": "1" })),
            ("service_tier", json!("auto")),
            ("temperature", json!(0.3)),
            ("top_p", json!(1)),
            ("top_k", json!(40)),
            ("seed", json!(7)),
            ("logit_bias", json!({})),
            ("prompt_cache_key", json!("k")),
            ("tools", json!([])),
        ] {
            let mut body = wire.body("hello", false);
            body[name] = value;
            let answer = session.ask(wire, &body).await;
            assert_eq!(answer.status, 200, "{wire:?} {name}: {}", answer.text);
        }
    }
    let mut body = Wire::Chat.body("hello", false);
    body["n"] = 1.into();
    assert_eq!(session.ask(Wire::Chat, &body).await.status, 200);
}

/// `none` in one header is no key: it hides no key in the other.
#[tokio::test]
async fn a_key_that_says_nothing_hides_no_other() {
    let (app, _sim) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    for wire in Wire::ALL {
        let request = app.ai_request(wire, &wire.body("hello", false)).header("Authorization", "Bearer none");
        wire.read(&app.ai_send(request.header("X-Api-Key", &session.macaroon)).await, false);
    }
}
