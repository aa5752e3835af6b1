//! What breaks clients of streams. The readers of [`crate::app::Wire`] are as strict as the strictest of them.

use crate::app::{Ends, Options, Script, TOOL, TestApp, Wire, frames};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tithe_chat::{Delta, Finish};
use tithe_pricing::Usage;

const USED: Usage = Usage { input_tokens: 120, output_tokens: 40, ..Usage::ZERO };

fn calls() -> Script {
    let pieces = vec![
        Delta::ToolCall { index: 0, id: "call_a".to_owned(), name: TOOL.to_owned() },
        Delta::Arguments { index: 0, json: "{\"city\":".to_owned() },
        Delta::Arguments { index: 0, json: "\"Rome\"}".to_owned() },
        Delta::ToolCall { index: 1, id: "call_b".to_owned(), name: TOOL.to_owned() },
        Delta::Arguments { index: 1, json: "{}".to_owned() },
    ];
    Script { pieces, ends: Ends::Finished(Finish::ToolCalls, Some(USED)), gate: None, pace: Duration::ZERO }
}

fn json_of(frames: &[(Option<String>, String)]) -> Vec<Value> {
    frames.iter().map(|(_, data)| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test]
async fn a_usage_chunk_comes_only_if_asked_for_and_then_alone_at_the_end() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    for options in [None, Some(json!({})), Some(json!({ "include_usage": false })), Some(Value::Null)] {
        backend.say(calls());
        let mut body = Wire::Chat.body_with_tool("Rome?", true);
        body.as_object_mut().unwrap().remove("stream_options");
        if let Some(options) = options {
            body["stream_options"] = options;
        }
        let answer = session.ask(Wire::Chat, &body).await;
        let read = Wire::Chat.read(&answer, true);
        assert!(read.usage.is_null() && read.finish == "tool_calls" && read.calls.len() == 2, "{read:?}");
        assert!(!answer.text.contains("\"usage\":{"), "{}", answer.text);
        assert!(!answer.text.contains("\"choices\":[]"), "{}", answer.text);
    }
    backend.say(calls());
    let answer = session.ask(Wire::Chat, &Wire::Chat.body_with_tool("Rome?", true)).await;
    let frames = frames(&answer.text);
    let chunks = json_of(&frames[..frames.len() - 1]);
    let (usage, others) = chunks.split_last().unwrap();
    assert_eq!((&usage["choices"], &usage["usage"]["total_tokens"]), (&json!([]), &json!(160)));
    assert!(
        others.iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()),
        "{others:?}"
    );
}

#[tokio::test]
async fn the_pieces_of_calls_have_an_index_and_the_first_has_id_type_and_name() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    backend.say(calls());
    let answer = session.ask(Wire::Chat, &Wire::Chat.body_with_tool("Rome?", true)).await;
    let frames = frames(&answer.text);
    let mut begun = 0;
    for chunk in json_of(&frames[..frames.len() - 1]) {
        for call in chunk["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().unwrap();
            if index == begun {
                assert!(call["id"].is_string() && call["type"] == "function", "{call}");
                assert_eq!(call["function"]["name"], TOOL);
                begun += 1;
            } else {
                assert_eq!(index, begun - 1, "calls come one after the other");
                assert!(call["function"]["arguments"].is_string(), "{call}");
            }
        }
    }
    assert_eq!(begun, 2);
}

#[tokio::test]
async fn a_stream_begins_with_the_id_of_its_record() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    for wire in Wire::ALL {
        let (script, gate) = Script::of(&["a", "b"], Ends::Finished(Finish::Stop, Some(USED))).gated(1);
        backend.say(script);
        let response = session.request(wire, &wire.body("hello", true)).send().await.unwrap();
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(response.status(), 200);
        assert_eq!(
            (header("content-type"), header("cache-control")),
            ("text/event-stream".to_owned(), "no-store".to_owned())
        );
        let id = header("x-generation-id");
        assert_eq!(session.generation(&id).await["state"], "running");
        gate.open();
        let text = response.text().await.unwrap();
        app.saw(&text);
        assert!(text.contains(&id) || text.contains(&id.replace('-', "")), "{text}");
        let record = session.generation(&id).await;
        assert_eq!(
            (&record["state"], &record["charged_msats"]),
            (&json!("complete"), &json!(app.price(&USED).await))
        );
    }
}

/// The request is settled, and committed, before the last event is written.
#[tokio::test]
async fn what_the_last_event_says_is_already_charged() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(5_000).await;
    let price = app.price(&USED).await;
    for (n, wire) in Wire::ALL.into_iter().enumerate() {
        backend.say(Script::of(&["a", "b"], Ends::Finished(Finish::Stop, Some(USED))));
        let mut response = session.request(wire, &wire.body("hello", true)).send().await.unwrap();
        let (mut text, end) = (
            String::new(),
            match wire {
                Wire::Chat => "\"finish_reason\":\"stop\"",
                Wire::Responses => "response.completed",
                Wire::Messages => "message_delta",
            },
        );
        while !text.contains(end) {
            text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
        }
        assert_eq!(session.balance().await, 5_000_000 - price * (u64::try_from(n).unwrap() + 1));
    }
}

#[tokio::test]
async fn a_stream_that_fails_in_the_middle_ends_as_its_api_says() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    for wire in Wire::ALL {
        for ends in [Ends::CutOff, Ends::FailedAfter(USED)] {
            backend.say(Script::of(&["The ", "sky "], ends));
            let answer = session.ask(wire, &wire.body("hello", true)).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            let frames = frames(&answer.text);
            match wire {
                Wire::Chat => {
                    assert_eq!(frames.last().unwrap().1, "[DONE]");
                    let error: Value = serde_json::from_str(&frames[frames.len() - 2].1).unwrap();
                    let error = &error["error"];
                    assert!(error["message"].is_string() && error["type"] == "server_error", "{error}");
                    assert!(error.get("code").is_some(), "{error}");
                    assert!(!answer.text.contains("\"finish_reason\":\"stop\""), "{}", answer.text);
                }
                Wire::Responses => {
                    let (name, data) = frames.last().unwrap();
                    assert_eq!(name.as_deref(), Some("response.failed"));
                    let event: Value = serde_json::from_str(data).unwrap();
                    assert_eq!(event["response"]["status"], "failed");
                    assert_eq!(event["response"]["error"]["code"], "server_error");
                    assert!(!answer.text.contains("event: error"), "Codex ignores it");
                }
                Wire::Messages => {
                    let (name, data) = frames.last().unwrap();
                    assert_eq!(name.as_deref(), Some("error"));
                    let event: Value = serde_json::from_str(data).unwrap();
                    assert_eq!(
                        (&event["type"], &event["error"]["type"]),
                        (&json!("error"), &json!("api_error"))
                    );
                    assert!(!answer.text.contains("message_stop"), "{}", answer.text);
                }
            }
        }
    }
    assert_eq!(session.balance().await, 1_000_000);
}

/// Nothing is sent into a silence that is short: many clients cannot read comments.
#[tokio::test]
async fn a_silence_of_seconds_has_no_keep_alive_in_it() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    let mut responses = Vec::new();
    let mut gates = Vec::new();
    for wire in Wire::ALL {
        let (script, gate) = Script::of(&["a", "b"], Ends::Finished(Finish::Stop, Some(USED))).gated(1);
        backend.say(script);
        responses.push((wire, session.request(wire, &wire.body("hello", true)).send().await.unwrap()));
        gate.reached().await;
        gates.push(gate);
    }
    for (_, response) in &mut responses {
        let mut text = String::new();
        while !text.contains("\"a\"") {
            text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
        }
    }
    // Real time: what is tested is that nothing comes in it.
    let (begun, silence) = (Instant::now(), Duration::from_secs(3));
    for (wire, response) in &mut responses {
        let left = silence.saturating_sub(begun.elapsed());
        let came = tokio::time::timeout(left, response.chunk()).await;
        assert!(came.is_err(), "{wire:?} {came:?}");
    }
    gates.iter().for_each(crate::app::Gate::open);
    for (_, response) in responses {
        assert!(response.text().await.unwrap().ends_with("\n\n"));
    }
}

#[tokio::test]
async fn pieces_arrive_as_they_are_generated() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    for wire in Wire::ALL {
        let (script, gate) =
            Script::of(&["first", "second"], Ends::Finished(Finish::Stop, Some(USED))).gated(1);
        backend.say(script);
        let mut response = session.request(wire, &wire.body("hello", true)).send().await.unwrap();
        let mut text = String::new();
        while !text.contains("first") {
            text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
        }
        assert!(!text.contains("second"), "{text}");
        gate.open();
        assert!(response.text().await.unwrap().contains("second"));
    }
}

/// Line breaks, quotes, and characters that some clients split lines at, arrive as they are.
#[tokio::test]
async fn text_arrives_unchanged_whatever_is_in_it() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(5_000).await;
    let odd = [
        "line\n\nbreak\r\n",
        "data: [DONE]\n\n",
        "\"quotes\\\"",
        "\u{2028}\u{2029}\u{85}",
        "日本語 🦀",
        "\u{1}\t",
        "event: x\n",
    ];
    for wire in Wire::ALL {
        for stream in [false, true] {
            let script = Script::of(&odd, Ends::Finished(Finish::Stop, Some(USED)));
            let expected = script.text();
            backend.say(script);
            let answer = session.ask(wire, &wire.body("hello", stream)).await;
            assert_eq!(wire.read(&answer, stream).text, expected, "{wire:?} {stream}");
        }
    }
}

/// The simulation, with a whole round trip of a function.
#[tokio::test]
async fn a_function_is_called_and_its_result_is_read() {
    let app = TestApp::new();
    let session = app.ai_session(5_000).await;
    for wire in Wire::ALL {
        for stream in [false, true] {
            let ask = "[sim:call=weather] Rome?";
            let mut body = wire.body_with_tool(ask, stream);
            let first = wire.read(&session.ask(wire, &body).await, stream);
            assert_eq!(first.finish, "tool_calls");
            let (id, name, arguments) = &first.calls[0];
            match wire {
                Wire::Chat => {
                    body["messages"] = json!([
                        {"role": "user", "content": ask},
                        {"role": "assistant", "content": null, "tool_calls": [
                            {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
                        ]},
                        {"role": "tool", "tool_call_id": id, "content": "sunny, 24 degrees"},
                    ]);
                }
                Wire::Responses => {
                    body["input"] = json!([
                        {"role": "user", "content": ask},
                        {"type": "function_call", "call_id": id, "name": name, "arguments": arguments},
                        {"type": "function_call_output", "call_id": id, "output": "sunny, 24 degrees"},
                    ]);
                }
                Wire::Messages => {
                    let input: Value = serde_json::from_str(arguments).unwrap();
                    body["messages"] = json!([
                        {"role": "user", "content": ask},
                        {"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": name, "input": input}]},
                        {"role": "user", "content": [
                            {"type": "tool_result", "tool_use_id": id, "content": "sunny, 24 degrees"}
                        ]},
                    ]);
                }
            }
            let second = wire.read(&session.ask(wire, &body).await, stream);
            assert_eq!(second.finish, "stop");
            assert!(second.text.contains("sunny, 24 degrees"), "{wire:?} {second:?}");
        }
    }
}

/// After 15 seconds, what keeps the connection open is what the API's clients ignore. The test takes as long.
#[tokio::test]
async fn a_long_silence_is_broken_by_what_clients_ignore() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    let mut waiting = Vec::new();
    for wire in Wire::ALL {
        let (script, gate) = Script::of(&["a", "b"], Ends::Finished(Finish::Stop, Some(USED))).gated(1);
        backend.say(script);
        let mut response = session.request(wire, &wire.body("hello", true)).send().await.unwrap();
        waiting.push(async move {
            let (mut text, mut silent_since) = (String::new(), Instant::now());
            let kept = loop {
                let bytes = response.chunk().await.unwrap().unwrap();
                let more = std::str::from_utf8(&bytes).unwrap();
                if text.contains("\"a\"") {
                    break more.to_owned();
                }
                text.push_str(more);
                silent_since = Instant::now();
            };
            assert!(silent_since.elapsed() >= Duration::from_secs(14), "{wire:?} {kept:?}");
            if wire == Wire::Messages {
                assert_eq!(kept, "event: ping\ndata: {\"type\":\"ping\"}\n\n");
            } else {
                assert!(
                    kept.starts_with(':') && kept.ends_with("\n\n") && kept.lines().count() == 2,
                    "{kept:?}"
                );
            }
            gate.open();
            assert!(response.text().await.unwrap().contains("\"b\""), "the stream goes on");
        });
    }
    futures_util::future::join_all(waiting).await;
}
