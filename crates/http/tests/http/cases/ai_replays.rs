//! Repeated requests of the AI API: `Idempotency-Key`.

use crate::app::{Ends, Options, Script, TOOL, TestApp, Wire, install};
use serde_json::json;
use std::time::Duration;
use tithe_chat::{Delta, Finish};
use tithe_pricing::Usage;

const USED: Usage = Usage { input_tokens: 120, output_tokens: 40, ..Usage::ZERO };

fn script() -> Script {
    let pieces = vec![
        Delta::Text("Let me ".to_owned()),
        Delta::Text("see.".to_owned()),
        Delta::ToolCall { index: 0, id: "call_a".to_owned(), name: TOOL.to_owned() },
        Delta::Arguments { index: 0, json: "{\"city\":\"Rome\"}".to_owned() },
    ];
    Script { pieces, ends: Ends::Finished(Finish::ToolCalls, Some(USED)), gate: None, pace: Duration::ZERO }
}

#[tokio::test]
async fn the_same_request_with_the_same_key_gets_the_same_answer_and_is_charged_once() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(5_000).await;
    for wire in Wire::ALL {
        for stream in [false, true] {
            let (asked, before) = (backend.asked(), session.balance().await);
            backend.say(script());
            let body = wire.body_with_tool("Rome?", stream);
            let key = format!("{wire:?}-{stream}");
            let keyed = || session.request(wire, &body).header("Idempotency-Key", &key);
            let first = app.ai_send(keyed()).await;
            let answer = wire.read(&first, stream);
            assert_eq!((answer.finish.as_str(), answer.calls.len()), ("tool_calls", 1));
            let after = session.balance().await;
            for _ in 0..2 {
                let again = app.ai_send(keyed()).await;
                assert_eq!(wire.read(&again, stream), answer, "{wire:?} {stream}");
                let header = |name: &str| (first.header(name).to_owned(), again.header(name).to_owned());
                assert_eq!(header("idempotency-replayed"), (String::new(), "true".to_owned()));
                let (id, same) = header("x-generation-id");
                assert_eq!(id, same);
            }
            assert_eq!(session.balance().await, after);
            assert_eq!(before - after, app.price(&USED).await);
            assert_eq!(backend.asked(), asked + 1);

            let other =
                session.request(wire, &wire.body_with_tool("Oslo?", stream)).header("Idempotency-Key", &key);
            let refused = app.ai_send(other).await;
            let error = wire.refused(&refused, 409);
            assert_eq!(error["metadata"]["code"], "idempotency_key_reused");
            assert_eq!(refused.header("x-should-retry"), "false");
        }
    }
}

#[tokio::test]
async fn a_key_is_for_the_beta_features_that_it_was_used_with() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(5_000).await;
    backend.say(script());
    let body = Wire::Messages.body_with_tool("Rome?", false);
    let keyed = |betas: &str| {
        let request = session.request(Wire::Messages, &body).header("Idempotency-Key", "once");
        request.header("anthropic-version", "2023-06-01").header("anthropic-beta", betas)
    };
    let first = app.ai_send(keyed("context-1m-2025-08-07")).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, ""));
    let again = app.ai_send(keyed("context-1m-2025-08-07")).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, "true"));
    let refused = app.ai_send(keyed("interleaved-thinking-2025-05-14")).await;
    assert_eq!(Wire::Messages.refused(&refused, 409)["metadata"]["code"], "idempotency_key_reused");
    assert_eq!(backend.asked(), 1);
}

#[tokio::test]
async fn a_repetition_while_the_first_runs_is_told_to_wait() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(5_000).await;
    for wire in Wire::ALL {
        for stream in [false, true] {
            let (script, gate) = script().gated(1);
            backend.say(script);
            let body = wire.body_with_tool("Rome?", stream);
            let key = format!("{wire:?}-{stream}");
            let keyed = || session.request(wire, &body).header("Idempotency-Key", &key);
            let first = app.ai_send(keyed());
            let second = async {
                gate.reached().await;
                let refused = app.ai_send(keyed()).await;
                gate.open();
                refused
            };
            let (first, second) = tokio::join!(first, second);
            let error = wire.refused(&second, 409);
            assert_eq!(error["metadata"]["code"], "request_in_progress");
            assert_eq!((second.header("retry-after"), second.header("x-should-retry")), ("1", ""));
            let again = app.ai_send(keyed()).await;
            assert_eq!(wire.read(&again, stream), wire.read(&first, stream));
        }
    }
    assert_eq!(backend.asked(), 6);
}

#[tokio::test]
async fn what_failed_is_done_again_under_its_key() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(5_000).await;
    for wire in Wire::ALL {
        let body = wire.body("hello", false);
        let keyed = || session.request(wire, &body).header("Idempotency-Key", format!("{wire:?}"));
        backend.say(Script::of(&["The "], Ends::CutOff));
        wire.refused(&app.ai_send(keyed()).await, 502);
        backend.say(Script::of(&["The sky."], Ends::Finished(Finish::Stop, Some(USED))));
        let answer = app.ai_send(keyed()).await;
        assert_eq!(wire.read(&answer, false).text, "The sky.");
        assert_eq!(answer.header("idempotency-replayed"), "");
    }
    let price = app.price(&USED).await;
    assert_eq!(session.balance().await, 5_000_000 - 3 * price);
}

#[tokio::test]
async fn the_keys_of_an_install_are_replayed_too_and_of_nobody_else() {
    let mut options = Options::default();
    options.settings.credits.plans.core.requests = Some(100);
    let (app, backend) = TestApp::scripted(options);
    for wire in Wire::ALL {
        for stream in [false, true] {
            let body = wire.body_with_tool("Rome?", stream);
            let key = format!("{wire:?}-{stream}");
            let of = |n: u128| {
                let request = app.ai_request(wire, &body).header("X-Install-Id", install(n));
                request.header("Idempotency-Key", &key)
            };
            backend.say(script());
            let first = wire.read(&app.ai_send(of(1)).await, stream);
            let again = app.ai_send(of(1)).await;
            assert_eq!(
                (wire.read(&again, stream), again.header("idempotency-replayed")),
                (first.clone(), "true")
            );
            backend.say(script());
            let another = app.ai_send(of(2)).await;
            assert_eq!(another.header("idempotency-replayed"), "");
            assert_ne!(wire.read(&another, stream).id, first.id);
        }
    }
    assert_eq!(app.credits_taken(&install(1)).await, (0, 6));
}

/// A stream and a whole answer are different requests: their bodies differ.
#[tokio::test]
async fn a_stream_is_not_the_repetition_of_a_whole_answer() {
    let (app, _sim) = TestApp::scripted(Options::default());
    let session = app.ai_session(5_000).await;
    for wire in Wire::ALL {
        let keyed = |stream: bool| {
            session.request(wire, &wire.body("hello", stream)).header("Idempotency-Key", format!("{wire:?}"))
        };
        wire.read(&app.ai_send(keyed(false)).await, false);
        let error = wire.refused(&app.ai_send(keyed(true)).await, 409);
        assert_eq!(error["metadata"]["code"], json!("idempotency_key_reused"));
    }
}

/// Who has lost the connection in the middle of a stream asks again with the same key: what was charged is what they get.
#[tokio::test]
async fn a_stream_that_was_left_is_repeated_as_far_as_it_was_charged() {
    let (app, backend) = TestApp::scripted(Options::default());
    let pieces: Vec<String> = (0..300).map(|n| format!("piece{n} ")).collect();
    let texts = pieces.iter().map(|piece| Delta::Text(piece.clone()));
    let call = Delta::ToolCall { index: 0, id: "call_a".to_owned(), name: TOOL.to_owned() };
    let arguments = pieces.iter().map(|json| Delta::Arguments { index: 0, json: json.clone() });
    let scripts = [
        texts.clone().collect::<Vec<_>>(),
        std::iter::once(Delta::Text("Let me see.".to_owned())).chain([call]).chain(arguments).collect(),
        std::iter::once(Delta::Reasoning("Hm. ".to_owned())).chain(texts).collect(),
    ];
    for wire in Wire::ALL {
        for (n, pieces) in scripts.iter().enumerate() {
            let session = app.ai_session(1_000).await;
            let ends = Ends::Finished(Finish::Stop, Some(USED));
            let script = Script { pieces: pieces.clone(), ends, gate: None, pace: Duration::from_millis(10) };
            let (script, gate) = script.gated(4);
            backend.say(script);
            let body = wire.body_with_tool("hello", true);
            let keyed = || session.request(wire, &body).header("Idempotency-Key", "k");
            let mut stream = keyed().send().await.unwrap();
            let id = stream.headers()["x-generation-id"].to_str().unwrap().to_owned();
            gate.reached().await;
            let mut seen = String::new();
            while !seen.contains("piece1 ") {
                seen.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
            }
            drop(stream);
            gate.open();
            let again = loop {
                let again = app.ai_send(keyed()).await;
                if again.status != 409 {
                    break again;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            };
            assert_eq!(again.header("idempotency-replayed"), "true");
            assert_eq!(again.header("x-generation-id"), id);
            let record = session.generation(&id).await;
            assert_eq!(
                (&record["state"], &record["finish_reason"]),
                (&json!("complete"), &json!("interrupted"))
            );
            let read = wire.read(&again, true);
            let said = if n == 1 { read.calls[0].2.clone() } else { read.text.clone() };
            assert!(said.starts_with("piece0 piece1 "), "{wire:?} {n}: {read:?}");
            assert_eq!(read.finish, "length", "it is not whole");
            assert_eq!(record["cost_msats"], read.cost());
            assert_eq!(session.balance().await, 1_000_000 - read.cost());
        }
    }
}
