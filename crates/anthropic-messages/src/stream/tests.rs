use super::*;
use crate::backend::{Events, Step, parse_reply};
use crate::encode_reply;
use proptest::prelude::*;
use serde_json::{Value, json};
use tithe_chat::{Part, Reasoning, Reply, ReplyBuilder, ToolCall};
use tithe_money::{Msats, UsdMicros};

const INPUT: Usage = Usage { input_tokens: 25, ..Usage::ZERO };

fn streamed(deltas: &[Delta], finish: Finish, usage: &Usage) -> String {
    let mut out = Vec::new();
    let mut encoder = Encoder::start(&mut out, "msg_1", "m", &INPUT);
    for delta in deltas {
        encoder.delta(&mut out, delta);
    }
    encoder.finish(&mut out, finish, usage, None);
    String::from_utf8(out).unwrap()
}

/// The events of a stream: names and data. Each has one line of each, and an empty line after it.
fn events(stream: &str) -> Vec<(&str, Value)> {
    let frames = stream.strip_suffix("\n\n").unwrap().split("\n\n");
    frames
        .map(|frame| {
            let (name, data) = frame.split_once('\n').unwrap();
            (
                name.strip_prefix("event: ").unwrap(),
                serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap(),
            )
        })
        .collect()
}

/// The message that an SDK puts together, which is strict about the order of blocks.
fn accumulated(stream: &str) -> Value {
    let mut message = Value::Null;
    let mut open: Option<u64> = None;
    let mut next = 0;
    let mut json = String::new();
    for (name, data) in events(stream) {
        assert_eq!(data["type"], name);
        let index = data["index"].as_u64();
        match name {
            "message_start" => message = data["message"].clone(),
            "content_block_start" => {
                assert_eq!((open, index), (None, Some(next)));
                open = index;
                next += 1;
                json.clear();
                message["content"].as_array_mut().unwrap().push(data["content_block"].clone());
            }
            "content_block_delta" => {
                assert_eq!(open, index);
                let block = message["content"].as_array_mut().unwrap().last_mut().unwrap();
                let delta = &data["delta"];
                let (field, kind) = match delta["type"].as_str().unwrap() {
                    "text_delta" => ("text", "text"),
                    "thinking_delta" => ("thinking", "thinking"),
                    "signature_delta" => {
                        assert_eq!(block["signature"], "", "a signature replaces the one before it");
                        ("signature", "thinking")
                    }
                    "input_json_delta" => {
                        json.push_str(delta["partial_json"].as_str().unwrap());
                        assert_eq!(block["type"], "tool_use");
                        continue;
                    }
                    other => panic!("{other}"),
                };
                assert_eq!(block["type"], kind);
                let text = format!("{}{}", block[field].as_str().unwrap(), delta[field].as_str().unwrap());
                block[field] = text.into();
            }
            "content_block_stop" => {
                assert_eq!(open, index);
                open = None;
                if !json.is_empty() {
                    let block = message["content"].as_array_mut().unwrap().last_mut().unwrap();
                    block["input"] = serde_json::from_str(&json).unwrap();
                    json.clear();
                }
            }
            "message_delta" => {
                assert_eq!(open, None);
                message["stop_reason"] = data["delta"]["stop_reason"].clone();
                message["usage"] = data["usage"].clone();
            }
            "message_stop" | "ping" => {}
            other => panic!("{other}"),
        }
    }
    message
}

fn parsed(stream: &str) -> (Reply, Option<Usage>) {
    let mut parser = Events::default();
    let mut reply = ReplyBuilder::default();
    let mut last = Step::More;
    for (name, data) in events(stream) {
        assert_eq!(last, Step::More);
        last = parser.step(name, &data.to_string(), &mut |delta| reply.push(&delta)).unwrap();
    }
    assert_eq!(last, Step::Last);
    let (finish, usage) = parser.ending().unwrap();
    (reply.finish(finish), usage)
}

fn whole(reply: &Reply, usage: &Usage) -> Value {
    let mut out = Vec::new();
    encode_reply(&mut out, "msg_1", "m", reply, usage, None);
    let (again, counted) = parse_reply(&out).unwrap();
    assert_eq!((&again, counted.as_ref()), (reply, Some(usage)));
    serde_json::from_slice(&out).unwrap()
}

fn text(text: &str) -> Delta {
    Delta::Text(text.to_owned())
}

fn call(index: usize) -> Delta {
    Delta::ToolCall { index, id: format!("toolu_{index}"), name: "f".to_owned() }
}

fn arguments(index: usize, json: &str) -> Delta {
    Delta::Arguments { index, json: json.to_owned() }
}

#[test]
fn a_whole_stream() {
    let mut out = Vec::new();
    let mut encoder = Encoder::start(&mut out, "msg_1", "claude-sonnet-5", &INPUT);
    for delta in [
        Delta::Reasoning("Let me ".to_owned()),
        Delta::Reasoning("see.".to_owned()),
        Delta::ReasoningSignature("EuYB".to_owned()),
        Delta::RedactedReasoning("Emwk".to_owned()),
        text("It is\n\"hot\"."),
        call(0),
        arguments(0, "{\"city\":"),
        arguments(0, "\"Rome\"}"),
    ] {
        encoder.delta(&mut out, &delta);
    }
    Encoder::ping(&mut out);
    let usage = Usage {
        input_tokens: 100,
        cached_input_tokens: 60,
        cache_write_tokens: 15,
        cache_write_1h_tokens: 0,
        output_tokens: 12,
        reasoning_tokens: 4,
    };
    let charge = Charge {
        usd: UsdMicros::new(1_230).unwrap(),
        msats: Msats::new(2_000).unwrap(),
        absorbed: Msats::new(0).unwrap(),
    };
    encoder.finish(&mut out, Finish::ToolCalls, &usage, Some(&charge));
    insta::assert_snapshot!(String::from_utf8(out).unwrap());
}

#[test]
fn a_usage_of_zeros_is_not_sent_at_the_start() {
    let mut out = Vec::new();
    _ = Encoder::start(&mut out, "msg_1", "m", &Usage::ZERO);
    let stream = String::from_utf8(out).unwrap();
    assert_eq!(events(&stream)[0].1["message"]["usage"]["input_tokens"], 1);
}

#[test]
fn an_answer_without_content_is_a_stream_too() {
    let stream = streamed(&[], Finish::Stop, &INPUT);
    let names: Vec<&str> = events(&stream).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["message_start", "ping", "message_delta", "message_stop"]);
}

#[test]
fn a_stream_that_ends_for_lack_of_balance_ends_as_a_length_stop() {
    let message = accumulated(&streamed(&[text("a"), call(0), arguments(0, "{}")], Finish::Length, &INPUT));
    assert_eq!(message["stop_reason"], "max_tokens");
}

#[test]
fn calls_are_run_by_clients_only_if_they_are_the_reason_to_stop() {
    let message = accumulated(&streamed(&[call(0), arguments(0, "{}")], Finish::Stop, &INPUT));
    assert_eq!(message["stop_reason"], "tool_use");
}

#[test]
fn a_failure_is_an_error_event_and_the_last_one() {
    let mut out = Vec::new();
    let mut encoder = Encoder::start(&mut out, "msg_1", "m", &INPUT);
    encoder.delta(&mut out, &text("a"));
    let error =
        ErrorBody { status: 502, message: "backend failed", metadata: None, request_id: Some("req_1") };
    encoder.error(&mut out, &error);
    let stream = String::from_utf8(out).unwrap();
    let (name, data) = events(&stream).pop().unwrap();
    let expected = json!({
        "type": "error", "error": {"type": "api_error", "message": "backend failed"}, "request_id": "req_1",
    });
    assert_eq!((name, data), ("error", expected));
}

#[test]
fn calls_that_come_one_after_another_are_not_held_back() {
    let mut out = Vec::new();
    let mut encoder = Encoder::start(&mut out, "msg_1", "m", &INPUT);
    for delta in [call(0), arguments(0, "{\"a\":\"}\\\"{\"}"), call(1), arguments(1, "{\"b\":")] {
        let before = out.len();
        encoder.delta(&mut out, &delta);
        assert!(out.len() > before, "{delta:?}");
    }
}

#[test]
fn what_belongs_to_a_later_block_waits() {
    let stream = streamed(
        &[
            call(0),
            arguments(0, "{\"a\":"),
            call(1),
            arguments(1, "{}"),
            text("b"),
            arguments(9, "lost"),
            arguments(0, "1}"),
            text("c"),
        ],
        Finish::ToolCalls,
        &INPUT,
    );
    let content = &accumulated(&stream)["content"];
    let expected = json!([
        {"type": "tool_use", "id": "toolu_0", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
        {"type": "text", "text": "bc"},
    ]);
    assert_eq!(content, &expected);
}

/// What a backend does next.
#[derive(Debug, Clone)]
enum Act {
    Text(String),
    Reasoning(String),
    Signature(String),
    Redacted(String),
    Call(String),
    /// Goes on with the arguments of one of the calls.
    Arguments(usize, usize),
}

fn act() -> impl Strategy<Value = Act> {
    let arguments = prop_oneof![
        Just(String::new()),
        ("\\PC{0,6}", any::<i32>())
            .prop_map(|(text, number)| json!({"a": text, "b": [{"c": number}], "}": "{\"["}).to_string()),
    ];
    prop_oneof![
        "[\\PC\n\r]{1,5}".prop_map(Act::Text),
        "\\PC{1,5}".prop_map(Act::Reasoning),
        "[a-z]{1,3}".prop_map(Act::Signature),
        "[a-z]{1,3}".prop_map(Act::Redacted),
        arguments.prop_map(Act::Call),
        (any::<usize>(), 1usize..9).prop_map(|(call, length)| Act::Arguments(call, length)),
    ]
}

fn piece(calls: &mut [Vec<char>], index: usize, length: usize) -> Option<Delta> {
    let rest = &mut calls[index];
    let json: String = rest.drain(..length.min(rest.len())).collect();
    (!json.is_empty()).then_some(Delta::Arguments { index, json })
}

fn deltas(acts: Vec<Act>) -> Vec<Delta> {
    let mut calls: Vec<Vec<char>> = Vec::new();
    let mut deltas = Vec::new();
    for act in acts {
        match act {
            Act::Text(text) => deltas.push(Delta::Text(text)),
            Act::Reasoning(text) => deltas.push(Delta::Reasoning(text)),
            Act::Signature(text) => deltas.push(Delta::ReasoningSignature(text)),
            Act::Redacted(data) => deltas.push(Delta::RedactedReasoning(data)),
            Act::Call(json) => {
                deltas.push(call(calls.len()));
                calls.push(json.chars().collect());
            }
            Act::Arguments(_, _) if calls.is_empty() => {}
            Act::Arguments(index, length) => {
                let index = index % calls.len();
                deltas.extend(piece(&mut calls, index, length));
            }
        }
    }
    for index in 0..calls.len() {
        deltas.extend(piece(&mut calls, index, usize::MAX));
    }
    deltas
}

/// A call without arguments has an empty object.
fn with_objects(mut reply: Reply) -> Reply {
    for part in &mut reply.parts {
        if let Part::ToolCall(ToolCall { arguments, .. }) = part
            && arguments.is_empty()
        {
            arguments.push_str("{}");
        }
    }
    reply
}

proptest! {
    #[test]
    fn however_a_backend_interleaves_the_client_gets_the_reply(
        acts in prop::collection::vec(act(), 0..30),
        output_tokens in 0u64..1000,
    ) {
        let deltas = deltas(acts);
        let mut builder = ReplyBuilder::default();
        for delta in &deltas { builder.push(delta); }
        let calls_tools = deltas.iter().any(|delta| matches!(delta, Delta::ToolCall { .. }));
        let finish = if calls_tools { Finish::ToolCalls } else { Finish::Stop };
        let reply = with_objects(builder.finish(finish));
        let usage = Usage { input_tokens: 40, cached_input_tokens: 9, cache_write_1h_tokens: 5, output_tokens, ..Usage::ZERO };
        let stream = streamed(&deltas, finish, &usage);

        let message = accumulated(&stream);
        prop_assert_eq!(&message, &whole(&reply, &usage));

        let (read, counted) = parsed(&stream);
        prop_assert_eq!(read, reply);
        prop_assert_eq!(counted, Some(usage));
    }

    #[test]
    fn any_deltas_make_a_stream_of_blocks_in_order(
        acts in prop::collection::vec(act(), 0..20),
        junk in prop::collection::vec((0usize..3, "[{}\"\\\\a]{1,4}", any::<prop::sample::Index>()), 0..5),
    ) {
        let mut deltas = deltas(acts);
        for (index, json, place) in junk {
            let place = place.index(deltas.len() + 1);
            deltas.insert(place, Delta::Arguments { index, json });
        }
        let stream = streamed(&deltas, Finish::Stop, &INPUT);
        let mut open = None;
        let mut next = 0;
        for (name, data) in events(&stream) {
            match name {
                "content_block_start" => {
                    prop_assert_eq!((open, data["index"].as_u64()), (None, Some(next)));
                    open = Some(next);
                    next += 1;
                }
                "content_block_delta" => prop_assert_eq!(open, data["index"].as_u64()),
                "content_block_stop" => {
                    prop_assert_eq!(open, data["index"].as_u64());
                    open = None;
                }
                _ => prop_assert_eq!(open, None),
            }
        }
    }
}

#[test]
fn unsigned_reasoning_has_an_empty_signature() {
    let reply = Reply {
        parts: vec![Part::Reasoning(Reasoning { text: "hm".to_owned(), ..Reasoning::default() })],
        finish: Finish::Stop,
    };
    let message = whole(&reply, &INPUT);
    assert_eq!(message["content"], json!([{"type": "thinking", "thinking": "hm", "signature": ""}]));
}
