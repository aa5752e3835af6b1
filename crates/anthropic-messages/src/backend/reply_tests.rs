//! Answers of backends, as they come in the wild.

use super::{BackendError, Events, Step, parse_reply};
use proptest::prelude::*;
use serde_json::{Value, json};
use tithe_chat::{Delta, Finish, Part, Reply, ReplyBuilder};
use tithe_pricing::Usage;

fn whole(body: &Value) -> (Reply, Option<Usage>) {
    parse_reply(body.to_string().as_bytes()).unwrap()
}

fn streamed(events: &[Value]) -> (Reply, Events) {
    let mut parser = Events::default();
    let mut reply = ReplyBuilder::default();
    for event in events {
        parser.step("", &event.to_string(), &mut |delta| reply.push(&delta)).unwrap();
    }
    let finish = parser.ending().map_or(Finish::Other, |(finish, _)| finish);
    (reply.finish(finish), parser)
}

fn start(usage: &Value) -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "usage": usage}})
}

fn end(usage: &Value) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage})
}

#[test]
fn all_input_is_counted_wherever_the_cache_put_it() {
    let usage = json!({
        "input_tokens": 1, "cache_read_input_tokens": 24, "cache_creation_input_tokens": 5, "output_tokens": 8,
    });
    let expected = Usage {
        input_tokens: 30,
        cached_input_tokens: 24,
        cache_write_tokens: 5,
        output_tokens: 8,
        ..Usage::ZERO
    };
    assert_eq!(whole(&json!({"content": [], "usage": usage})).1, Some(expected));
    let (_, parser) = streamed(&[start(&usage), end(&json!({"output_tokens": 8}))]);
    assert_eq!(parser.ending(), Some((Finish::Stop, Some(expected))));
}

#[test]
fn cache_writes_are_told_apart_by_how_long_they_are_kept() {
    for (creation, total, minutes, hour) in [
        (json!({"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4}), json!(7), 3, 4),
        (json!({"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4}), json!(null), 3, 4),
        (json!({"ephemeral_1h_input_tokens": 4}), json!(9), 5, 4),
        (json!(null), json!(9), 9, 0),
        (json!("odd"), json!(9), 9, 0),
    ] {
        let usage = json!({
            "input_tokens": 1, "cache_creation_input_tokens": total, "cache_creation": creation, "output_tokens": 2,
            "output_tokens_details": {"thinking_tokens": 1}, "service_tier": "standard", "server_tool_use": null,
        });
        let expected = Usage {
            input_tokens: 1 + minutes + hour,
            cache_write_tokens: minutes,
            cache_write_1h_tokens: hour,
            output_tokens: 2,
            reasoning_tokens: 1,
            ..Usage::ZERO
        };
        assert_eq!(whole(&json!({"content": [], "usage": usage})).1, Some(expected), "{usage}");
    }
}

#[test]
fn usage_of_zeros_is_usage_and_half_a_usage_is_none() {
    for (usage, expected) in [
        (json!({"input_tokens": 0, "output_tokens": 0}), Some(Usage::ZERO)),
        (json!({"input_tokens": 3}), None),
        (json!({"input_tokens": -3, "output_tokens": 0}), None),
        (json!({"input_tokens": "3", "output_tokens": 0}), None),
        (json!([]), None),
        (json!(null), None),
    ] {
        assert_eq!(whole(&json!({"content": [], "usage": usage})).1, expected);
    }
}

#[test]
fn the_larger_of_two_reports_is_the_count() {
    let (_, parser) = streamed(&[
        start(&json!({"input_tokens": 9, "output_tokens": 1, "cache_read_input_tokens": 5})),
        json!({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 70}}),
        end(&json!({"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0})),
        json!({"type": "message_stop"}),
    ]);
    let expected = Usage { input_tokens: 14, cached_input_tokens: 5, output_tokens: 70, ..Usage::ZERO };
    assert_eq!(parser.ending(), Some((Finish::Stop, Some(expected))));
}

#[test]
fn what_is_said_of_the_output_at_the_start_is_not_the_count() {
    let (_, parser) = streamed(&[start(&json!({"input_tokens": 9, "output_tokens": 1}))]);
    assert_eq!(parser.ending(), None);
    assert_eq!(parser.used(), Some(Usage { input_tokens: 9, ..Usage::ZERO }));
    let (_, parser) =
        streamed(&[start(&json!({"input_tokens": 9, "output_tokens": 1})), json!({"type": "message_stop"})]);
    assert_eq!(parser.ending(), Some((Finish::Stop, None)));
}

#[test]
fn every_known_block_is_read_and_others_are_not() {
    let content = json!([
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "text", "text": "one ", "citations": null},
        {"type": "server_tool_use", "id": 5, "name": {}, "text": 7},
        {"type": "tool_use", "id": "t", "name": "n", "input": {"a": [1]}},
        {"type": "tool_use", "id": "u", "name": "n", "input": {}},
        {"type": "text", "text": null},
        {},
        {"type": "text", "text": "two"},
    ]);
    let (reply, _) = whole(&json!({"content": content, "stop_reason": "tool_use"}));
    assert_eq!(reply.text(), "one two");
    assert_eq!(reply.finish, Finish::ToolCalls);
    let arguments: Vec<&str> = reply.tool_calls().map(|call| call.arguments.as_str()).collect();
    assert_eq!(arguments, ["{\"a\":[1]}", "{}"]);
    assert!(matches!(&reply.parts[0], Part::Reasoning(it) if it.signature.as_deref() == Some("s")));
    assert!(matches!(&reply.parts[1], Part::Reasoning(it) if it.is_redacted));
}

#[test]
fn reasons_to_stop_are_told_apart() {
    for (name, finish) in [
        (json!("end_turn"), Finish::Stop),
        (json!("stop_sequence"), Finish::Stop),
        (json!("STOP"), Finish::Stop),
        (json!("tool_use"), Finish::ToolCalls),
        (json!("max_tokens"), Finish::Length),
        (json!("model_context_window_exceeded"), Finish::Length),
        (json!("refusal"), Finish::ContentFilter),
        (json!("pause_turn"), Finish::Other),
        (json!(""), Finish::Stop),
        (json!(null), Finish::Stop),
    ] {
        assert_eq!(whole(&json!({"content": [], "stop_reason": name})).0.finish, finish);
        let change = json!({"type": "message_delta", "delta": {"stop_reason": name}});
        let (reply, _) = streamed(&[change, json!({"type": "message_stop"})]);
        assert_eq!(reply.finish, finish);
    }
    let call = json!({"content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]});
    assert_eq!(whole(&call).0.finish, Finish::ToolCalls);
}

#[test]
fn what_is_no_answer_is_an_error() {
    let error = |body: &str| parse_reply(body.as_bytes()).unwrap_err();
    assert!(matches!(error("{\"error\":{\"type\":\"overloaded_error\"}}"), BackendError::Reported(raw)
        if raw.get() == "{\"type\":\"overloaded_error\"}"));
    assert!(matches!(error("{}"), BackendError::Wrong("it has no content")));
    assert!(matches!(error("{\"content\":null}"), BackendError::Wrong(_)));
    assert!(matches!(error("{\"content\":5}"), BackendError::Unreadable { .. }));
    assert!(matches!(error("<html>"), BackendError::Unreadable { .. }));
    assert_eq!(whole(&json!({"content": [], "error": null})).0.parts, []);
    assert_eq!(whole(&json!({"content": "plain"})).0.text(), "plain");
}

#[test]
fn a_stream_of_all_kinds_of_blocks_is_read() {
    let block = |index: u32, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let piece =
        |index: u32, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let stop = |index: u32| json!({"type": "content_block_stop", "index": index});
    let (reply, _) = streamed(&[
        start(&json!({"input_tokens": 3, "output_tokens": 1})),
        json!({"type": "ping"}),
        block(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        piece(0, json!({"type": "thinking_delta", "thinking": "hm", "estimated_tokens": 5})),
        piece(0, json!({"type": "signature_delta", "signature": "sig"})),
        stop(0),
        block(1, json!({"type": "redacted_thinking", "data": "d"})),
        stop(1),
        block(2, json!({"type": "text", "text": "a"})),
        piece(2, json!({"type": "text_delta", "text": "b"})),
        piece(2, json!({"type": "citations_delta", "citation": {}})),
        stop(2),
        block(3, json!({"type": "tool_use", "id": "t0", "name": "f", "input": {}})),
        block(4, json!({"type": "tool_use", "id": "t1", "name": "g", "input": {}})),
        piece(4, json!({"type": "input_json_delta", "partial_json": ""})),
        piece(3, json!({"type": "input_json_delta", "partial_json": "{\"x\""})),
        piece(4, json!({"type": "input_json_delta", "partial_json": "{\"y\":2}"})),
        piece(3, json!({"type": "input_json_delta", "partial_json": ":1}"})),
        stop(3),
        stop(4),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 9}}),
        json!({"type": "message_stop"}),
    ]);
    assert_eq!(reply.finish, Finish::ToolCalls);
    assert_eq!(reply.text(), "ab");
    assert!(
        matches!(&reply.parts[0], Part::Reasoning(it) if it.text == "hm" && it.signature.as_deref() == Some("sig"))
    );
    assert!(
        matches!(&reply.parts[1], Part::Reasoning(it) if it.is_redacted && it.signature.as_deref() == Some("d"))
    );
    let calls: Vec<(&str, &str)> =
        reply.tool_calls().map(|call| (call.name.as_str(), call.arguments.as_str())).collect();
    assert_eq!(calls, [("f", "{\"x\":1}"), ("g", "{\"y\":2}")]);
}

#[test]
fn an_input_that_comes_with_its_block_is_read_once() {
    let block = |input: Value| {
        json!({"type": "content_block_start", "index": 0,
               "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": input}})
    };
    let arguments = |events: &[Value]| streamed(events).0.tool_calls().next().unwrap().arguments.clone();
    let stop = json!({"type": "content_block_stop", "index": 0});
    assert_eq!(arguments(&[block(json!({"a": 1})), stop.clone()]), "{\"a\":1}");
    assert_eq!(arguments(&[block(json!({})), stop.clone()]), "{}");
    assert_eq!(arguments(&[block(json!(null)), json!({"type": "message_stop"})]), "{}");
    // A stream that breaks off after its end is whole.
    assert_eq!(arguments(&[block(json!({"a": 1})), end(&json!({}))]), "{\"a\":1}");
    let more = json!({"type": "content_block_delta", "index": 0,
                      "delta": {"type": "input_json_delta", "partial_json": "{\"b\":2}"}});
    assert_eq!(arguments(&[block(json!({"a": 1})), more, stop]), "{\"b\":2}");
}

#[test]
fn odd_events_are_passed_over() {
    let mut parser = Events::default();
    let mut deltas = Vec::new();
    let sink = &mut |delta| deltas.push(delta);
    for data in [
        "",
        "  ",
        "null",
        "[DONE]",
        "{}",
        r#"{"type":"from_the_future","delta":5,"index":"x"}"#,
        r#"{"type":"message_start"}"#,
        r#"{"type":"message_start","message":null}"#,
        r#"{"type":"content_block_start","content_block":null}"#,
        r#"{"type":"content_block_delta","delta":null}"#,
        r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":null}}"#,
        r#"{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
        r#"{"type":"content_block_stop"}"#,
        r#"{"type":"message_delta"}"#,
        r#"{"type":"message_delta","delta":null,"usage":{"output_tokens":-1}}"#,
    ] {
        assert_eq!(parser.step("ping", data, sink).unwrap(), Step::More, "{data}");
    }
    assert_eq!(parser.step("message_stop", "{}", sink).unwrap(), Step::Last);
    assert_eq!(parser.ending(), Some((Finish::Stop, None)));
    assert_eq!(deltas, []);
}

#[test]
fn errors_in_a_stream_are_reported_whatever_their_form() {
    for (name, data, expected) in [
        (
            "error",
            r#"{"type":"error","error":{"type":"overloaded_error"}}"#,
            r#"{"type":"overloaded_error"}"#,
        ),
        ("", r#"{"type":"error","error":"no"}"#, "\"no\""),
        ("", r#"{"error":{"message":"no"}}"#, r#"{"message":"no"}"#),
        ("error", r#"{"message":"no"}"#, r#"{"message":"no"}"#),
        ("", r#"{"type":"error"}"#, r#"{"type":"error"}"#),
    ] {
        let error = Events::default().step(name, data, &mut |_| {}).unwrap_err();
        assert!(matches!(&error, BackendError::Reported(raw) if raw.get() == expected), "{error:?}");
    }
    let error = Events::default().step("", "not json", &mut |_| {}).unwrap_err();
    assert!(matches!(error, BackendError::Unreadable { .. }));
}

proptest! {
    #[test]
    fn no_bytes_make_the_parsers_panic(
        body in prop::collection::vec(any::<u8>(), 0..100),
        pieces in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ":", ",", "\"type\"", "\"content_block_start\"", "\"content_block_delta\"", "\"index\"",
            "\"delta\"", "\"text\"", "\"usage\"", "\"error\"", "null", "1", "-1e99", "\"\\ud800\"", "\"content\"",
        ]), 0..30),
    ) {
        _ = parse_reply(&body);
        let text = pieces.concat();
        _ = parse_reply(text.as_bytes());
        _ = Events::default().step("content_block_delta", &text, &mut |_: Delta| {});
        _ = Events::default().step("", &String::from_utf8_lossy(&body), &mut |_: Delta| {});
    }
}
