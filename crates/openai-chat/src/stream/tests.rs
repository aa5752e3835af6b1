//! What clients read of a stream.

use super::*;
use crate::backend::{Chunks, Ending, Step};
use proptest::prelude::*;
use serde_json::{Value, json};
use tithe_chat::{Charge, Part, Reply, ReplyBuilder};
use tithe_money::{Msats, UsdMicros};
use tithe_pricing::Usage;

const META: Meta<'_> = Meta { id: "chatcmpl-1", created: 1_790_000_000, model: "m/\"large\"" };

const USAGE: Usage =
    Usage { input_tokens: 9, cached_input_tokens: 4, output_tokens: 70, reasoning_tokens: 7, ..Usage::ZERO };

fn encoded(deltas: &[Delta], finish: Finish, include_usage: bool) -> String {
    let charge = Charge {
        usd: UsdMicros::new(1_200_000).unwrap(),
        msats: Msats::new(5).unwrap(),
        absorbed: Msats::new(0).unwrap(),
    };
    let (mut out, mut encoder) = (Vec::new(), Encoder::new(&META, include_usage));
    for delta in deltas {
        encoder.delta(&mut out, delta);
    }
    encoder.finish(&mut out, finish, &Spent { usage: USAGE, charge: Some(charge) });
    String::from_utf8(out).unwrap()
}

/// The data of all events: each is one line `data: …` and an empty one, or the stream is wrong.
fn data(stream: &str) -> Vec<&str> {
    let events = stream.strip_suffix("\n\n").expect("an end").split("\n\n");
    events
        .map(|event| {
            assert!(!event.contains('\n'), "{event}");
            event.strip_prefix("data: ").expect("nothing but data")
        })
        .collect()
}

fn chunks(stream: &str) -> Vec<Value> {
    let mut data = data(stream);
    assert_eq!(data.pop(), Some("[DONE]"));
    data.into_iter().map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn call(index: usize) -> Delta {
    Delta::ToolCall { index, id: format!("call_{index}"), name: format!("f{index}") }
}

fn arguments(index: usize, json: &str) -> Delta {
    Delta::Arguments { index, json: json.into() }
}

#[test]
fn a_full_stream_is_what_it_is() {
    let stream = encoded(
        &[
            Delta::Reasoning("hm\n".into()),
            Delta::Text("Let me \"see\".".into()),
            call(0),
            arguments(0, "{\"city\":"),
            arguments(0, "\"Rome\"}"),
            call(1),
        ],
        Finish::ToolCalls,
        true,
    );
    insta::assert_snapshot!(stream);
}

#[test]
fn every_chunk_has_what_strict_clients_want() {
    for include_usage in [true, false] {
        let stream = encoded(&[Delta::Text("a".into()), call(0)], Finish::Stop, include_usage);
        let mut chunks = chunks(&stream);
        if include_usage {
            let usage = chunks.pop().unwrap();
            assert_eq!(usage["choices"], json!([]));
            for (name, count) in [("prompt_tokens", 9), ("completion_tokens", 70), ("total_tokens", 79)] {
                assert_eq!(usage["usage"][name], count, "{name}");
            }
            assert_eq!(usage["usage"]["cost"], 1.2);
            assert_eq!(usage["object"], "chat.completion.chunk");
        }
        for chunk in &chunks {
            assert_eq!(chunk["id"], "chatcmpl-1");
            assert_eq!(chunk["object"], "chat.completion.chunk");
            assert_eq!(chunk["created"], 1_790_000_000);
            assert_eq!(chunk["model"], "m/\"large\"");
            assert_eq!(chunk["choices"].as_array().unwrap().len(), 1);
            assert_eq!(chunk["choices"][0]["index"], 0);
            assert!(chunk["choices"][0]["delta"].is_object());
            // Present and null if it was asked for, absent if not.
            assert_eq!(chunk.get("usage"), include_usage.then_some(&Value::Null));
        }
        assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");
        assert_eq!(chunks.last().unwrap()["choices"][0]["delta"], json!({}));
    }
}

#[test]
fn the_first_tool_delta_has_the_id_and_the_others_only_the_number() {
    let stream = encoded(
        &[
            call(0),
            arguments(0, "{\"a\""),
            call(1),
            arguments(0, ":1}"),
            arguments(1, "{}"),
            arguments(9, "lost"),
        ],
        Finish::ToolCalls,
        true,
    );
    let chunks = chunks(&stream);
    let tools: Vec<&Value> =
        chunks.iter().filter_map(|chunk| chunk["choices"].get(0)?["delta"].get("tool_calls")).collect();
    let first = |index: usize| json!([{"index": index, "id": format!("call_{index}"), "type": "function", "function": {"name": format!("f{index}"), "arguments": ""}}]);
    let more = |index: usize, json: &str| json!([{"index": index, "function": {"arguments": json}}]);
    let expected = [first(0), more(0, "{\"a\""), first(1), more(0, ":1}"), more(1, "{}")];
    assert_eq!(tools, expected.iter().collect::<Vec<_>>());
}

#[test]
fn a_call_without_arguments_gets_an_object_unless_it_was_cut() {
    let end = |finish| encoded(&[call(0)], finish, false).contains("{\"arguments\":\"{}\"}");
    assert!(end(Finish::ToolCalls));
    assert!(!end(Finish::Length));
}

#[test]
fn an_answer_that_may_not_be_whole_ends_like_one_that_was_cut() {
    for finish in [Finish::Length, Finish::Other] {
        let chunks = chunks(&encoded(&[], finish, false));
        assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "length");
    }
}

#[test]
fn an_error_is_one_event_before_the_end() {
    let (mut out, mut encoder) = (Vec::new(), Encoder::new(&META, true));
    encoder.delta(&mut out, &Delta::Text("ha".into()));
    let begun = out.len();
    encoder.error(&mut out, &ApiError::of_status(502, "the model failed"));
    let stream = String::from_utf8(out.split_off(begun)).unwrap();
    let data = data(&stream);
    let error: Value = serde_json::from_str(data[0]).unwrap();
    assert_eq!(
        error,
        json!({"error": {"message": "the model failed", "type": "server_error", "param": null, "code": "server_error"}})
    );
    assert_eq!(data[1..], ["[DONE]"]);
}

#[test]
fn a_keep_alive_is_a_comment() {
    assert!(KEEP_ALIVE.starts_with(':') && KEEP_ALIVE.ends_with("\n\n"));
}

/// Deltas as they come from a backend: calls are numbered from 0 in the order in which they begin, and are written by turns.
fn deltas() -> impl Strategy<Value = Vec<Delta>> {
    let text = "\\PC{1,8}|[\"\\\\\n\r\u{2028}\u{0}]{1,4}";
    let step = prop_oneof![
        text.prop_map(|text| (0, text)),
        text.prop_map(|text| (1, text)),
        "[a-z]{1,6}".prop_map(|text| (2, text)),
        (3..9_usize, text),
    ];
    prop::collection::vec(step, 0..30).prop_map(|steps| {
        let (mut begun, mut deltas) = (0, Vec::new());
        for (kind, text) in steps {
            match kind {
                0 => deltas.push(Delta::Text(text)),
                1 => deltas.push(Delta::Reasoning(text)),
                2 => {
                    deltas.push(Delta::ToolCall { index: begun, id: format!("c{begun}"), name: text });
                    begun += 1;
                }
                _ if begun > 0 => deltas.push(Delta::Arguments { index: kind % begun, json: text }),
                _ => {}
            }
        }
        deltas
    })
}

/// The answer as this API can say it: a call without arguments has an empty object.
fn built(deltas: &[Delta], finish: Finish) -> Reply {
    let mut builder = ReplyBuilder::default();
    for delta in deltas {
        builder.push(delta);
    }
    let mut reply = builder.finish(finish);
    for part in &mut reply.parts {
        if let Part::ToolCall(call) = part
            && call.arguments.is_empty()
        {
            call.arguments.push_str("{}");
        }
    }
    reply
}

/// A strict reader, after OpenAI's own SDKs: joins what chunks have by number.
fn read_strictly(stream: &str) -> (String, String, Vec<[String; 3]>, String) {
    let (mut text, mut reasoning, mut calls, mut finish) = Default::default();
    let add = |all: &mut String, more: &Value| all.push_str(more.as_str().unwrap_or_default());
    for chunk in chunks(stream) {
        let Some(choice) = chunk["choices"].get(0) else { continue };
        assert!(String::is_empty(&finish), "nothing comes after the reason");
        let delta = &choice["delta"];
        add(&mut text, &delta["content"]);
        add(&mut reasoning, &delta["reasoning_content"]);
        add(&mut finish, &choice["finish_reason"]);
        for piece in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = usize::try_from(piece["index"].as_u64().expect("a number")).unwrap();
            let calls: &mut Vec<[String; 3]> = &mut calls;
            if index == calls.len() {
                assert_eq!(piece["type"], "function");
                calls.push([piece["id"].as_str().unwrap().into(), String::new(), String::new()]);
            }
            add(&mut calls[index][1], &piece["function"]["name"]);
            add(&mut calls[index][2], &piece["function"]["arguments"]);
        }
    }
    (text, reasoning, calls, finish)
}

proptest! {
    #[test]
    fn a_stream_says_what_was_said(deltas in deltas(), include_usage in any::<bool>()) {
        let has_calls = deltas.iter().any(|delta| matches!(delta, Delta::ToolCall { .. }));
        let finish = if has_calls { Finish::ToolCalls } else { Finish::Stop };
        let stream = encoded(&deltas, finish, include_usage);
        let expected = built(&deltas, finish);

        // By the reader for backends.
        let (mut reader, mut builder) = (Chunks::default(), ReplyBuilder::default());
        let data = data(&stream);
        let last = data.len() - 1;
        for (place, data) in data.iter().enumerate() {
            let step = reader.step("", data, |delta| builder.push(&delta)).unwrap();
            prop_assert_eq!(step == Step::Last, place == last, "{}", data);
        }
        let usage = include_usage.then_some(USAGE);
        prop_assert_eq!(reader.ending(), Some(Ending { finish, usage }));
        prop_assert_eq!(&builder.finish(finish), &expected);

        // By a strict one.
        let (text, reasoning, calls, name) = read_strictly(&stream);
        prop_assert_eq!(text, expected.text());
        let thoughts: String = expected.parts.iter().filter_map(|part| match part {
            Part::Reasoning(reasoning) => Some(reasoning.text.as_str()),
            _ => None,
        }).collect();
        prop_assert_eq!(reasoning, thoughts);
        let written: Vec<[String; 3]> =
            expected.tool_calls().map(|call| [call.id.clone(), call.name.clone(), call.arguments.clone()]).collect();
        prop_assert_eq!(calls, written);
        prop_assert_eq!(name, if has_calls { "tool_calls" } else { "stop" });
    }
}
