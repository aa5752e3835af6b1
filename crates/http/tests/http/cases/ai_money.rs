//! What requests of the AI API are charged, on every wire, streamed and not.

use crate::app::{AiSession, Ends, Moved, Options, Read, Script, TOOL, TestApp, Wire, install, key};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use std::time::Duration;
use tithe_chat::{Delta, Finish};
use tithe_engine::Settings;
use tithe_ledger::credits::{Counted, Plans, Quota};
use tithe_money::Sats;
use tithe_pricing::{Tokenizer, Usage};

const USED: Usage = Usage { input_tokens: 120, cached_input_tokens: 20, output_tokens: 40, ..Usage::ZERO };

const WAYS: [(Wire, bool); 6] = [
    (Wire::Chat, false),
    (Wire::Chat, true),
    (Wire::Responses, false),
    (Wire::Responses, true),
    (Wire::Messages, false),
    (Wire::Messages, true),
];

fn complete(usage: Option<Usage>) -> Script {
    Script::of(&["The sky ", "scatters ", "blue light."], Ends::Finished(Finish::Stop, usage))
}

/// An answer that a session has paid for, its record, and what the ledger moved. Everything that says what it cost agrees.
async fn paid(session: &AiSession<'_>, (wire, stream): (Wire, bool), body: &Value) -> (Read, Value, Moved) {
    let before = session.balance().await;
    let answer = session.ask(wire, body).await;
    let read = wire.read(&answer, stream);
    let id = answer.header("x-generation-id").to_owned();
    let (record, moved) = (session.generation(&id).await, session.app.moved(&id).await);
    let balance = session.balance().await;
    assert_eq!(before - balance, moved.charged, "{wire:?} {read:?}");
    assert_eq!((moved.granted, moved.included), (0, 0));
    if !stream {
        assert_eq!(answer.header("x-tithe-balance-msats"), balance.to_string());
        assert_eq!(answer.header("x-tithe-cost-msats"), read.cost().to_string());
    }
    assert_eq!(read.cost(), moved.charged + moved.granted + read.absorbed(), "{wire:?} {read:?} {moved:?}");
    assert_eq!(record["cost_msats"], read.cost(), "{record}");
    assert_eq!(record["charged_msats"], moved.charged, "{record}");
    assert_eq!(
        (&record["id"], &record["model"], &record["state"]),
        (&json!(id), &json!("sim-large"), &json!("complete"))
    );
    agrees(wire, &read.usage, &record);
    (read, record, moved)
}

/// The record of a request has the tokens that its answer says.
fn agrees(wire: Wire, usage: &Value, record: &Value) {
    let [input, output, cached] = ["tokens_prompt", "tokens_completion", "native_tokens_cached"]
        .map(|name| record[name].as_u64().unwrap());
    match wire {
        Wire::Chat => {
            assert_eq!(
                (&usage["prompt_tokens"], &usage["completion_tokens"]),
                (&json!(input), &json!(output))
            );
            assert_eq!(usage["total_tokens"], input + output);
            assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], cached);
        }
        Wire::Responses => {
            assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&json!(input), &json!(output)));
            assert_eq!(usage["total_tokens"], input + output);
            assert_eq!(usage["input_tokens_details"]["cached_tokens"], cached);
        }
        // Anthropic's input is what neither came from the cache nor went into it.
        Wire::Messages => {
            assert_eq!(
                (&usage["input_tokens"], &usage["output_tokens"]),
                (&json!(input - cached), &json!(output))
            );
            assert_eq!(usage["cache_read_input_tokens"], cached);
        }
    }
}

#[tokio::test]
async fn a_complete_answer_costs_what_the_backend_counted_at_the_quoted_rates() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(5_000).await;
    let price = app.price(&USED).await;
    for way in WAYS {
        for (finish, name) in [(Finish::Stop, "stop"), (Finish::Length, "length")] {
            backend.say(Script { ends: Ends::Finished(finish, Some(USED)), ..complete(None) });
            let (read, record, moved) = paid(&session, way, &way.0.body("Why is the sky blue?", way.1)).await;
            assert_eq!((read.text.as_str(), read.finish.as_str()), ("The sky scatters blue light.", name));
            assert_eq!((&record["finish_reason"], &record["estimated"]), (&json!(name), &json!(false)));
            assert_eq!(moved, Moved { charged: price, ..Moved::default() }, "{way:?}");
        }
    }
}

#[tokio::test]
async fn the_call_of_a_function_is_an_answer_like_text() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(5_000).await;
    let price = app.price(&USED).await;
    for way in WAYS {
        let pieces = vec![
            Delta::Text("Let me see.".to_owned()),
            Delta::ToolCall { index: 0, id: "call_a".to_owned(), name: TOOL.to_owned() },
            Delta::Arguments { index: 0, json: "{\"city\":".to_owned() },
            Delta::Arguments { index: 0, json: "\"Rome\"}".to_owned() },
            Delta::ToolCall { index: 1, id: "call_b".to_owned(), name: TOOL.to_owned() },
            Delta::Arguments { index: 1, json: "{\"city\":\"Oslo\"}".to_owned() },
        ];
        backend.say(Script {
            pieces,
            ends: Ends::Finished(Finish::ToolCalls, Some(USED)),
            gate: None,
            pace: Duration::ZERO,
        });
        let (read, _, moved) = paid(&session, way, &way.0.body_with_tool("Rome and Oslo?", way.1)).await;
        assert_eq!((read.text.as_str(), read.finish.as_str()), ("Let me see.", "tool_calls"));
        let call =
            |id: &str, city: &str| (id.to_owned(), TOOL.to_owned(), format!("{{\"city\":\"{city}\"}}"));
        assert_eq!(read.calls, [call("call_a", "Rome"), call("call_b", "Oslo")], "{way:?}");
        assert_eq!(moved.charged, price);
    }
}

#[tokio::test]
async fn a_missing_count_is_estimated_and_all_zeros_with_text_is_a_missing_count() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(5_000).await;
    let tokenizer = Tokenizer::O200kBase;
    for way in WAYS {
        for reported in [None, Some(Usage::ZERO)] {
            backend.say(complete(reported));
            let (read, record, moved) = paid(&session, way, &way.0.body("Why is the sky blue?", way.1)).await;
            assert_eq!(record["estimated"], true);
            assert_eq!(record["tokens_completion"], tokenizer.count(&read.text));
            let input = record["tokens_prompt"].as_u64().unwrap();
            assert!(input >= tokenizer.count("Why is the sky blue?"), "{record}");
            let usage =
                Usage { input_tokens: input, output_tokens: tokenizer.count(&read.text), ..Usage::ZERO };
            assert_eq!(moved, Moved { charged: app.price(&usage).await, ..Moved::default() }, "{way:?}");
        }
    }
}

#[tokio::test]
async fn no_more_than_the_hold_is_charged_whatever_the_backend_counts() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(5_000).await;
    let counted = Usage { input_tokens: 10, output_tokens: 4_000, ..Usage::ZERO };
    let price = app.price(&counted).await;
    for way in WAYS {
        backend.say(complete(Some(counted)));
        let before = session.balance().await;
        let answer = session.ask(way.0, &way.0.body("hello", way.1)).await;
        let read = way.0.read(&answer, way.1);
        let moved = app.moved(answer.header("x-generation-id")).await;
        assert_eq!(before - session.balance().await, moved.charged);
        let most = Usage { input_tokens: 200, output_tokens: 400, ..Usage::ZERO };
        assert!(moved.charged <= app.price(&most).await, "{moved:?}");
        assert_eq!(moved.charged + moved.uncollected, price, "{way:?} {moved:?}");
        let record = session.generation(answer.header("x-generation-id")).await;
        assert_eq!(
            (&record["charged_msats"], &record["cost_msats"]),
            (&json!(moved.charged), &json!(read.cost()))
        );
    }
}

#[tokio::test]
async fn what_the_backend_breaks_off_is_free_at_every_piece() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(5_000).await;
    let pieces = ["The sky ", "scatters ", "blue ", "light."];
    for (wire, stream) in WAYS {
        for k in 0..=pieces.len() {
            for ends in [Ends::CutOff, Ends::FailedAfter(USED)] {
                backend.say(Script::of(&pieces[..k], ends));
                let answer = session.ask(wire, &wire.body("hello", stream)).await;
                if stream && answer.status == 200 {
                    let read = wire.read(&answer, true);
                    assert_eq!((read.text, read.finish.as_str()), (pieces[..k].concat(), ""), "{wire:?} {k}");
                    assert!(read.usage.is_null() && read.error["message"].is_string(), "{answer:?}");
                } else {
                    wire.refused(&answer, 502);
                }
                assert_eq!(session.balance().await, 5_000_000, "{wire:?} {k} {ends:?}");
                if stream && k > 0 {
                    let id = answer.header("x-generation-id");
                    let record = session.generation(id).await;
                    assert_eq!((&record["state"], &record["charged_msats"]), (&json!("failed"), &json!(0)));
                    let moved = app.moved(id).await;
                    assert_eq!(moved.charged + moved.granted + moved.included, 0);
                    if ends == Ends::FailedAfter(USED) {
                        assert_eq!(
                            moved.uncollected,
                            app.price(&USED).await,
                            "the operator's loss is booked"
                        );
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_backend_that_fails_before_the_first_piece_costs_nothing() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(5_000).await;
    for (wire, stream) in WAYS {
        backend.say(Script::of(&[], Ends::Failed));
        let answer = session.ask(wire, &wire.body("hello", stream)).await;
        wire.refused(&answer, 502);
        assert_eq!(session.balance().await, 5_000_000);
        // An answer with nothing in it is none.
        backend.say(Script::of(&[], Ends::Finished(Finish::Stop, Some(Usage::ZERO))));
        let answer = session.ask(wire, &wire.body("hello", stream)).await;
        wire.refused(&answer, 502);
        assert_eq!(session.balance().await, 5_000_000);
    }
}

/// That somebody has left is seen when more is sent to them.
#[tokio::test]
async fn who_leaves_a_stream_pays_for_what_was_sent() {
    let (app, backend) = TestApp::scripted(Options::default());
    let pieces: Vec<String> = (0..300).map(|n| format!("piece{n} ")).collect();
    let borrowed: Vec<&str> = pieces.iter().map(String::as_str).collect();
    let tokens = |pieces: &[String]| Tokenizer::O200kBase.count(&pieces.concat());
    for wire in Wire::ALL {
        for k in [1, 2, 7] {
            let session = app.ai_session(1_000).await;
            let (script, gate) = Script::of(&borrowed, Ends::Finished(Finish::Stop, Some(USED))).gated(k);
            backend.say(Script { pace: Duration::from_millis(10), ..script });
            let mut stream = session.request(wire, &wire.body("hello", true)).send().await.unwrap();
            let id = stream.headers()["x-generation-id"].to_str().unwrap().to_owned();
            gate.reached().await;
            let mut seen = String::new();
            while !seen.contains(pieces[k - 1].trim()) {
                seen.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
            }
            drop(stream);
            gate.open();
            let record = ended(&session, &id).await;
            assert_eq!(
                (&record["state"], &record["estimated"]),
                (&json!("complete"), &json!(true)),
                "{record}"
            );
            assert_eq!(record["finish_reason"], "interrupted", "{record}");
            let output = record["tokens_completion"].as_u64().unwrap();
            let sent = (k..pieces.len()).find(|sent| tokens(&pieces[..*sent]) == output);
            assert!(sent.is_some(), "whole pieces were sent, not all: {record}");
            let input_tokens = record["tokens_prompt"].as_u64().unwrap();
            let price = async |output_tokens: u64| {
                app.price(&Usage { input_tokens, output_tokens, ..Usage::ZERO }).await
            };
            let moved = app.moved(&id).await;
            assert_eq!(moved.charged, price(output).await, "{wire:?} {k}");
            assert_eq!(record["charged_msats"], moved.charged);
            // The backend's own count is charged, or lost.
            let generated = price(tokens(&pieces[..backend.said()])).await;
            assert_eq!(moved.charged + moved.uncollected, generated, "{wire:?} {k} {moved:?}");
            assert_eq!(session.balance().await, 1_000_000 - moved.charged);
        }
    }
}

/// The record of a request, once it has ended.
async fn ended(session: &AiSession<'_>, id: &str) -> Value {
    for _ in 0..2_000 {
        let record = session.generation(id).await;
        if record["state"] != "running" {
            return record;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the request never ended");
}

/// Who does not wait for a whole answer pays for it: the work goes on, and a repetition with the same key gets it.
#[tokio::test]
async fn who_leaves_before_a_whole_answer_gets_it_again_with_the_same_key() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(5_000).await;
    let price = app.price(&USED).await;
    for (n, wire) in Wire::ALL.into_iter().enumerate() {
        let before = session.balance().await;
        let (script, gate) = complete(Some(USED)).gated(1);
        backend.say(script);
        let keyed = || {
            session.request(wire, &wire.body("hello", false)).header("Idempotency-Key", format!("gone-{n}"))
        };
        let leaving = keyed().send();
        tokio::select! {
            answer = leaving => panic!("{answer:?}"),
            () = gate.reached() => {}
        }
        gate.open();
        let answer = loop {
            let answer = app.ai_send(keyed()).await;
            if answer.status != 409 {
                break answer;
            }
        };
        assert_eq!(answer.header("idempotency-replayed"), "true");
        assert_eq!(wire.read(&answer, false).text, "The sky scatters blue light.");
        assert_eq!(session.balance().await, before - price);
    }
    assert_eq!(backend.asked(), 3);
}

/// Settings under which an install has this many requests, and new identities this much of the pool.
fn generous(requests: u64, sats: u64) -> Options {
    let mut settings: Settings = crate::app::settings();
    let core = Quota { counted: Counted::Lifetime, requests: Some(requests), cloud: None };
    settings.credits.plans = Plans { core, ..Plans::default() };
    settings.rules.free_tier.budgets.new = Sats::new(sats).unwrap();
    Options { settings, ..Options::default() }
}

/// An answer that nobody's session has paid for.
async fn free(app: &TestApp, (wire, stream): (Wire, bool), request: RequestBuilder) -> (Read, Moved) {
    let answer = app.ai_send(request).await;
    let read = wire.read(&answer, stream);
    assert_eq!(answer.header("x-tithe-balance-msats"), "");
    if !stream {
        assert_eq!(answer.header("x-tithe-cost-msats"), read.cost().to_string());
        assert_eq!(answer.header("x-tithe-backend"), "cloud");
    }
    (read, app.moved(answer.header("x-generation-id")).await)
}

#[tokio::test]
async fn the_plan_of_an_install_pays_and_then_nobody() {
    let (app, backend) = TestApp::scripted(generous(6, 0));
    let id = install(1);
    let price = app.price(&USED).await;
    for (n, way) in WAYS.into_iter().enumerate() {
        backend.say(complete(Some(USED)));
        let request = app.ai_request(way.0, &way.0.body("hello", way.1)).header("X-Install-Id", &id);
        // Clients cannot leave the key out.
        let request = request.header("Authorization", "Bearer none");
        let (read, moved) = free(&app, way, request).await;
        assert_eq!(moved, Moved { included: price, ..Moved::default() }, "{way:?}");
        assert_eq!(read.cost(), price);
        assert_eq!(app.credits_taken(&id).await, (0, u64::try_from(n).unwrap() + 1));
    }
    for (wire, stream) in WAYS {
        let request = app.ai_request(wire, &wire.body("hello", stream)).header("X-Install-Id", &id);
        let error = wire.refused(&app.ai_send(request.header("X-Api-Key", "none")).await, 402);
        assert_eq!(
            (&error["metadata"]["reason"], &error["metadata"]["balanceSats"]),
            (&json!("cap"), &json!(0))
        );
    }
    assert_eq!(app.credits_taken(&id).await, (0, 6));
    assert_eq!(backend.asked(), 6);
}

#[tokio::test]
async fn what_fails_takes_no_credit_of_an_install() {
    let (app, backend) = TestApp::scripted(generous(6, 0));
    let id = install(1);
    for (wire, stream) in WAYS {
        backend.say(Script::of(&["The "], Ends::CutOff));
        let request = app.ai_request(wire, &wire.body("hello", stream)).header("X-Install-Id", &id);
        let answer = app.ai_send(request).await;
        if stream {
            assert!(!wire.read(&answer, true).error.is_null());
        } else {
            wire.refused(&answer, 502);
        }
        assert_eq!(app.credits_taken(&id).await, (0, 0), "{wire:?} {stream}");
    }
}

#[tokio::test]
async fn the_pool_pays_for_a_trusted_identity() {
    let (app, backend) = TestApp::scripted(generous(0, 1_000));
    let token = app.login(&key(1)).await;
    let price = app.price(&USED).await;
    for (n, way) in WAYS.into_iter().enumerate() {
        backend.say(complete(Some(USED)));
        let request = app.ai_request(way.0, &way.0.body("hello", way.1)).header("X-Nostr-Token", &token);
        let (read, moved) = free(&app, way, request.header("X-Api-Key", "none")).await;
        assert_eq!(moved, Moved { granted: price, ..Moved::default() }, "{way:?}");
        assert_eq!((read.cost(), read.absorbed()), (price, price), "{way:?}");
        assert_eq!(app.pool().await["grantedTodayMsats"], price * (u64::try_from(n).unwrap() + 1));
    }
    // What breaks off is given back.
    for (wire, stream) in WAYS {
        backend.say(Script::of(&["The "], Ends::CutOff));
        let request = app.ai_request(wire, &wire.body("hello", stream)).header("X-Nostr-Token", &token);
        app.ai_send(request).await;
        let pool = app.pool().await;
        assert_eq!(
            (&pool["grantedTodayMsats"], &pool["reservedMsats"]),
            (&json!(price * 6), &json!(0)),
            "{pool}"
        );
    }
}

/// The pool pays for a request wholly or not at all: nobody but a session could pay the rest.
#[tokio::test]
async fn a_budget_that_is_less_than_a_request_may_cost_pays_nothing() {
    let (app, backend) = TestApp::scripted(generous(0, 2));
    let token = app.login(&key(1)).await;
    for (wire, stream) in WAYS {
        let request = app.ai_request(wire, &wire.body("hello", stream)).header("X-Nostr-Token", &token);
        let error = wire.refused(&app.ai_send(request).await, 402);
        assert_eq!(error["metadata"]["reason"], "no_payment");
        assert!(error["metadata"]["requiredSats"].as_u64().unwrap() > 2, "{error}");
        assert_eq!(app.pool().await["grantedTodayMsats"], 0);
    }
    assert_eq!(backend.asked(), 0);
    // A session of the same customer pays, and the pool still nothing.
    let session = app.ai_session(1_000).await;
    backend.say(complete(Some(USED)));
    let request =
        session.request(Wire::Chat, &Wire::Chat.body("hello", false)).header("X-Nostr-Token", &token);
    let read = Wire::Chat.read(&app.ai_send(request).await, false);
    assert_eq!((read.cost(), read.absorbed()), (app.price(&USED).await, 0));
    assert_eq!(session.balance().await, 1_000_000 - read.cost());
}

/// The answer is as long as the balance allows, and ends as at a length.
#[tokio::test]
async fn a_balance_that_pays_for_less_shortens_the_answer() {
    let (app, _sim) = TestApp::scripted(Options::default());
    for (wire, stream) in WAYS {
        let session = app.ai_session(100).await;
        let mut body = wire.body("hello", stream);
        let limit = if wire == Wire::Responses { "max_output_tokens" } else { "max_tokens" };
        body[limit] = 1_000_000.into();
        let (read, record, moved) = paid(&session, (wire, stream), &body).await;
        assert!(moved.charged <= 100_000 && !read.text.is_empty(), "{read:?}");
        assert!(record["tokens_completion"].as_u64().unwrap() > 0);
    }
}

/// Requests without a limit share what there is: none gets a 5xx, and what is charged is what the balance lost.
#[tokio::test]
async fn requests_at_once_run_as_far_as_the_balance_allows() {
    let (app, _sim) = TestApp::scripted(Options::default());
    for stream in [false, true] {
        let session = app.ai_session(150).await;
        let asked = (0..60).map(|n| {
            let wire = Wire::ALL[n % 3];
            let mut body = wire.body("hello", stream);
            let limit = if wire == Wire::Responses { "max_output_tokens" } else { "max_tokens" };
            body[limit] = 4_096.into();
            let session = &session;
            async move { (wire, session.ask(wire, &body).await) }
        });
        let answers = futures_util::future::join_all(asked).await;
        let (mut costs, mut served) = (0, 0);
        for (wire, answer) in &answers {
            if answer.status == 200 {
                costs += wire.read(answer, stream).cost();
                served += 1;
            } else {
                let error = wire.refused(answer, 402);
                assert_eq!(error["metadata"]["reason"], "balance", "{error}");
            }
        }
        assert!(served > 0);
        assert_eq!(session.balance().await, 150_000 - costs);
    }
}

/// Who leaves a stream that the plan of an install includes, or the pool pays for, has had it.
#[tokio::test]
async fn a_stream_that_is_left_is_paid_for_by_the_plan_or_the_pool() {
    let (app, backend) = TestApp::scripted(generous(10, 1_000));
    let id = install(1);
    let token = app.login(&key(1)).await;
    let pieces: Vec<String> = (0..300).map(|n| format!("piece{n} ")).collect();
    let borrowed: Vec<&str> = pieces.iter().map(String::as_str).collect();
    for (n, wire) in Wire::ALL.into_iter().enumerate() {
        for payer in ["X-Install-Id", "X-Nostr-Token"] {
            let (script, gate) = Script::of(&borrowed, Ends::Finished(Finish::Stop, Some(USED))).gated(2);
            backend.say(Script { pace: Duration::from_millis(10), ..script });
            let request = app.ai_request(wire, &wire.body("hello", true));
            let request = request.header(payer, if payer == "X-Install-Id" { &id } else { &token });
            let mut stream = request.send().await.unwrap();
            let generation = stream.headers()["x-generation-id"].to_str().unwrap().to_owned();
            gate.reached().await;
            let mut seen = String::new();
            while !seen.contains("piece1 ") {
                seen.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
            }
            drop(stream);
            gate.open();
            let mut moved = Moved::default();
            for _ in 0..2_000 {
                moved = app.moved(&generation).await;
                if moved != Moved::default() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(moved.charged, 0);
            let paid = if payer == "X-Install-Id" { moved.included } else { moved.granted };
            assert!(paid > 0, "{wire:?} {payer} {moved:?}");
        }
        assert_eq!(app.credits_taken(&id).await, (0, u64::try_from(n).unwrap() + 1));
        assert_eq!(app.pool().await["reservedMsats"], 0);
    }
}
