//! Answers of real servers, odd ones included.

use super::*;
use proptest::prelude::*;
use serde_json::json;
use tithe_chat::{Delta, Finish, Part, Reply, ReplyBuilder};
use tithe_pricing::Usage;

fn whole(value: &Value) -> WholeReply {
    decode_reply(value.to_string().as_bytes()).unwrap()
}

/// The text of a stream, and its end.
fn streamed(data: &[&str]) -> (String, Option<Ending>) {
    let (reply, chunks) = replied(data);
    (reply.text(), chunks.ending())
}

/// What a stream says, and its reader after the last event.
fn replied(data: &[&str]) -> (Reply, Chunks) {
    let (mut chunks, mut builder) = (Chunks::default(), ReplyBuilder::default());
    for data in data {
        let step = chunks.step("", data, |delta| builder.push(&delta)).unwrap();
        if step == Step::Last {
            break;
        }
    }
    let finish = chunks.ending().map_or(Finish::Other, |ending| ending.finish);
    (builder.finish(finish), chunks)
}

/// The calls of a stream of these `tool_calls`, one list per chunk: ids, names and arguments.
fn calls(deltas: &[Value]) -> Vec<(String, String, String)> {
    let chunk = |calls: &Value| json!({"id": "chatcmpl-7x", "choices": [{"delta": {"tool_calls": calls}}]});
    let mut data: Vec<String> = deltas.iter().map(|calls| chunk(calls).to_string()).collect();
    data.push(json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}).to_string());
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    let (reply, _) = replied(&data);
    assert_eq!(reply.finish, Finish::ToolCalls);
    reply.tool_calls().map(|call| (call.id.clone(), call.name.clone(), call.arguments.clone())).collect()
}

fn call(id: &str, name: &str, arguments: &str) -> (String, String, String) {
    (id.to_owned(), name.to_owned(), arguments.to_owned())
}

#[test]
fn odd_but_real_streams_are_read() {
    let stop = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
    for odd in [
        "null",
        "",
        " ",
        ": keepalive",
        r#"{"choices":null}"#,
        r#"{"choices":[],"usage":null}"#,
        r#"{"choices":[{"delta":null}]}"#,
        r#"{"choices":[{"delta":{"content":null,"role":"assistant"},"finish_reason":null}]}"#,
        r#"{"choices":[{"delta":{"content":""},"finish_reason":""}]}"#,
        r#"{"choices":[{"delta":{"content":"","tool_calls":null,"function_call":null}}]}"#,
        r#"{"choices":[{"delta":{"content":"","tool_calls":[]}}]}"#,
        r#"{"choices":[{"delta":{"content":"","role":"assistant","role":"assistant"}}]}"#,
        r#"{"choices":[{"finish_reason":null,"index":0}],"error":null}"#,
    ] {
        let hello = r#"{"choices":[{"delta":{"content":"Hello"}}]}"#;
        let (text, end) = streamed(&[odd, hello, odd, stop, odd, "[DONE]"]);
        assert_eq!(text, "Hello", "{odd}");
        assert_eq!(end, Some(Ending { finish: Finish::Stop, usage: None }), "{odd}");
    }
}

#[test]
fn an_empty_finish_reason_does_not_end_an_answer() {
    let cut = streamed(&[r#"{"choices":[{"delta":{"content":"half"},"finish_reason":""}]}"#]);
    assert_eq!(cut, ("half".to_owned(), None));
}

#[test]
fn a_stream_without_a_reason_ends_with_done() {
    let hello = r#"{"choices":[{"delta":{"content":"Hello"}}]}"#;
    assert_eq!(streamed(&[hello]).1, None);
    assert_eq!(streamed(&[hello, "[DONE]"]).1, Some(Ending { finish: Finish::Stop, usage: None }));
}

#[test]
fn a_trailing_report_of_zeros_does_not_replace_the_count() {
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":70}}"#;
    let zeros = r#"{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0}}"#;
    let stop = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
    for order in [[usage, zeros], [zeros, usage], [usage, usage]] {
        let (_, end) = streamed(&[stop, order[0], order[1], "[DONE]"]);
        let usage = Some(Usage { input_tokens: 9, output_tokens: 70, ..Usage::ZERO });
        assert_eq!(end, Some(Ending { finish: Finish::Stop, usage }));
    }
}

#[test]
fn usage_is_found_wherever_servers_put_it() {
    let expected = Some(Usage { input_tokens: 9, output_tokens: 70, ..Usage::ZERO });
    for chunk in [
        r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":70}}"#,
        r#"{"choices":[{"delta":{},"usage":{"prompt_tokens":9,"completion_tokens":70}}]}"#,
        r#"{"choices":[{"delta":{}}],"x_groq":{"id":"r","usage":{"prompt_tokens":9,"completion_tokens":70}}}"#,
    ] {
        assert_eq!(replied(&[chunk]).1.used(), expected, "{chunk}");
    }
    let half = r#"{"choices":[],"usage":{"prompt_tokens":9},"x_groq":7}"#;
    assert_eq!(replied(&[half]).1.used(), None);
}

#[test]
fn text_is_found_wherever_servers_put_it() {
    for (message, text) in [
        (json!({"role": "assistant", "content": "plain"}), "plain"),
        (
            json!({"content": [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]}),
            "in parts",
        ),
        (json!({"content": [{"type": "text", "text": null}, {"type": "other", "x": [1]}, "part"]}), "part"),
        (json!({"content": null, "refusal": "I would rather not."}), "I would rather not."),
        (json!({"content": "yes", "refusal": null, "reasoning_content": "hm"}), "yes"),
        (json!({"content": "yes", "refusal": {"odd": 1}, "reasoning": {"odd": 1}}), "yes"),
        (json!({"content": null}), ""),
    ] {
        let body = json!({"choices": [{"message": message, "finish_reason": "stop"}]});
        assert_eq!(whole(&body).reply.text(), text);
        let body = json!({"choices": [{"delta": message, "finish_reason": "stop"}]});
        assert_eq!(streamed(&[&body.to_string()]).0, text);
    }
}

#[test]
fn reasoning_is_found_wherever_servers_put_it_and_is_read_once() {
    for message in [
        json!({"content": "yes", "reasoning_content": "hm"}),
        json!({"content": "yes", "reasoning": "hm"}),
        json!({"content": "yes", "reasoning": "hm", "reasoning_content": "hm"}),
        json!({"content": "yes", "reasoning": "hm", "reasoning_content": "", "reasoning_details": [{"text": "hm"}]}),
        json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "yes"}]}),
    ] {
        let reply = whole(&json!({"choices": [{"message": message}]})).reply;
        let [Part::Reasoning(reasoning), Part::Text(text)] = reply.parts.as_slice() else {
            panic!("{reply:?}")
        };
        assert_eq!((reasoning.text.as_str(), text.as_str()), ("hm", "yes"));
    }
}

#[test]
fn reasons_to_finish_are_told_apart() {
    for (name, finish) in [
        (json!("stop"), Finish::Stop),
        (json!("length"), Finish::Length),
        (json!("content_filter"), Finish::ContentFilter),
        (json!("max_tokens"), Finish::Length),
        (json!("STOP"), Finish::Stop),
        (json!("MAX_TOKENS"), Finish::Length),
        (json!("something new"), Finish::Other),
        (json!(""), Finish::Stop),
        (json!(null), Finish::Stop),
        // There are none.
        (json!("tool_calls"), Finish::Other),
    ] {
        let body = json!({"choices": [{"message": {"content": "x"}, "finish_reason": name}]});
        assert_eq!(whole(&body).reply.finish, finish, "{name}");
    }
}

#[test]
fn an_answer_with_calls_waits_for_their_results_whatever_the_server_says() {
    let message = json!({"tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    for (name, finish) in [
        ("stop", Finish::ToolCalls),
        ("tool_calls", Finish::ToolCalls),
        ("function_call", Finish::ToolCalls),
        ("", Finish::ToolCalls),
        ("length", Finish::Length),
    ] {
        let body = json!({"choices": [{"message": message, "finish_reason": name}]});
        assert_eq!(whole(&body).reply.finish, finish, "{name}");
    }
}

#[test]
fn a_failure_that_is_reported_as_a_reason_is_a_failure() {
    for name in ["error", "abort", "insufficient_system_resource"] {
        let body = json!({"choices": [{"message": {"content": "half"}, "finish_reason": name}]});
        let error = decode_reply(body.to_string().as_bytes()).unwrap_err();
        assert!(matches!(error, BackendError::Reported(_)), "{error:?}");
        let data = json!({"choices": [{"delta": {"content": "half"}, "finish_reason": name}]}).to_string();
        let error = Chunks::default().step("", &data, drop).unwrap_err();
        assert!(matches!(error, BackendError::Reported(_)), "{error:?}");
    }
}

#[test]
fn an_error_in_a_successful_answer_is_an_error() {
    let object = json!({"type": "overloaded_error", "message": "later"});
    for body in [
        json!({"error": object}),
        json!({"error": object, "choices": "none"}),
        json!({"error": object, "choices": [{"delta": {"content": ""}, "finish_reason": "error"}]}),
    ] {
        let error = decode_reply(body.to_string().as_bytes()).unwrap_err();
        assert!(matches!(&error, BackendError::Reported(value) if *value == object), "{error:?}");
        let error = Chunks::default().step("", &body.to_string(), drop).unwrap_err();
        assert!(matches!(&error, BackendError::Reported(value) if *value == object), "{error:?}");
    }
    for (name, data) in [
        ("error", object.to_string()),
        ("error", json!({"error": object}).to_string()),
        ("", json!({"object": "error", "type": "overloaded_error", "message": "later"}).to_string()),
    ] {
        let error = Chunks::default().step(name, &data, drop).unwrap_err();
        let BackendError::Reported(value) = error else { panic!("{data}") };
        assert_eq!(value["type"], "overloaded_error", "{data}");
    }
    let error = Chunks::default().step("error", "out of memory", drop).unwrap_err();
    assert!(matches!(error, BackendError::Reported(_)));
}

#[test]
fn what_is_no_answer_is_said_to_be_none_without_quoting_it() {
    let error = decode_reply(b"{}").unwrap_err();
    assert_eq!(error.to_string(), "invalid response from the backend: it has no choices");
    let error = decode_reply(b"<html>secret</html>").unwrap_err();
    assert_eq!(error.to_string(), "unreadable response from the backend: line 1, column 1");
    let error = Chunks::default().step("", r#"{"choices":"secret"}"#, drop).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn calls_arrive_as_openai_sends_them() {
    let reply = calls(&[
        json!([{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]),
        json!([{"index": 0, "function": {"arguments": "{\"x\""}}]),
        json!([{"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}]),
        json!([{"index": 1, "function": {"arguments": "{}"}}]),
        json!([{"index": 0, "function": {"arguments": ":1}"}}]),
    ]);
    assert_eq!(reply, [call("a", "f", "{\"x\":1}"), call("b", "g", "{}")]);
}

#[test]
fn calls_are_told_apart_without_numbers_and_with_equal_ones() {
    let f = json!({"name": "f", "arguments": "{\"x\":1}"});
    let g = json!({"name": "g", "arguments": "{\"x\":2}"});
    let expected = [call("a", "f", "{\"x\":1}"), call("b", "g", "{\"x\":2}")];
    for index in [json!(null), json!(0)] {
        let a = json!({"index": index, "id": "a", "function": f});
        let b = json!({"index": index, "id": "b", "function": g});
        assert_eq!(calls(&[json!([a, b])]), expected, "{index}");
        assert_eq!(calls(&[json!([a]), json!([b])]), expected, "{index}");
        let (a, b) = (json!({"index": index, "function": f}), json!({"index": index, "function": g}));
        let reply = calls(&[json!([a]), json!([b])]);
        assert_eq!(
            reply,
            [call("call_chatcmpl7x_0", "f", "{\"x\":1}"), call("call_chatcmpl7x_1", "g", "{\"x\":2}")]
        );
    }
}

#[test]
fn ids_that_are_repeated_renewed_or_missing_do_not_split_a_call() {
    let piece = |id: &str, name: &str, json: &str| json!([{"index": 0, "id": id, "function": {"name": name, "arguments": json}}]);
    let expected = [call("a", "f", "{\"x\":1}")];
    // Repeated, with the name and without.
    assert_eq!(calls(&[piece("a", "f", "{\"x\""), piece("a", "f", ":1}")]), expected);
    assert_eq!(calls(&[piece("a", "f", "{\"x\""), piece("a", "", ":1}")]), expected);
    // A new one in each piece.
    assert_eq!(calls(&[piece("a", "f", "{\"x\""), piece("b", "", ":1}")]), expected);
    // Empty after the first.
    assert_eq!(calls(&[piece("a", "f", "{\"x\""), piece("", "", ":1}")]), expected);
    // The whole call once more.
    assert_eq!(calls(&[piece("a", "f", "{\"x\":1}"), piece("a", "f", "{\"x\":1}")]), expected);
    // None at all.
    let reply = calls(&[piece("", "f", "{\"x\""), piece("", "", ":1}")]);
    assert_eq!(reply, [call("call_chatcmpl7x_0", "f", "{\"x\":1}")]);
    // The id before the name, and the arguments before it.
    assert_eq!(calls(&[piece("a", "", "{\"x\""), piece("a", "f", ":1}")]), expected);
    // Without a number, piece by piece.
    let piece = |id: Value, name: Value, json: &str| json!([{"id": id, "function": {"name": name, "arguments": json}}]);
    assert_eq!(
        calls(&[piece(json!("a"), json!("f"), "{\"x\""), piece(json!(null), json!(null), ":1}")]),
        expected
    );
    assert_eq!(
        calls(&[piece(json!("a"), json!("f"), "{\"x\""), piece(json!("a"), json!("f"), ":1}")]),
        expected
    );
}

#[test]
fn an_id_that_comes_before_the_name_is_kept() {
    let id = json!([{"index": 0, "id": "a"}]);
    let name = json!([{"index": 0, "function": {"name": "f", "arguments": "{}"}}]);
    assert_eq!(calls(&[id, name]), [call("a", "f", "{}")]);
}

#[test]
fn a_message_beside_a_delta_is_read_once() {
    let chunk = r#"{"choices":[{"delta":{"content":"lo"},"message":{"content":"Hello"}}]}"#;
    assert_eq!(streamed(&[chunk]).0, "lo");
    let body = json!({"choices": [{"delta": {"role": "assistant", "content": ""}, "message": {"content": "Hello"}}]});
    assert_eq!(whole(&body).reply.text(), "Hello");
}

#[test]
fn a_whole_answer_becomes_a_stream() {
    let answer = whole(&json!({"choices": [{"message": {
        "content": "Hello", "reasoning": "hm",
        "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}, {"id": "b", "function": {"name": "g"}}],
        "function_call": {"name": "f", "arguments": "{}"},
    }}]}));
    let mut builder = ReplyBuilder::default();
    for delta in answer.reply.deltas() {
        builder.push(&delta);
    }
    assert_eq!(answer.reply.parts.len(), 4);
    assert_eq!(builder.finish(Finish::ToolCalls), answer.reply);
}

#[test]
fn two_calls_never_have_one_id() {
    let reply = calls(&[json!([
        {"index": 0, "id": "same", "function": {"name": "f", "arguments": "{}"}},
        {"index": 1, "id": "same", "function": {"name": "g", "arguments": "{}"}},
    ])]);
    assert_eq!(reply, [call("same", "f", "{}"), call("call_chatcmpl7x_1", "g", "{}")]);
    let reply = calls(&[json!([
        {"id": "same", "function": {"name": "f", "arguments": "{\"x\":1}"}},
        {"id": "same", "function": {"name": "f", "arguments": "{\"x\":2}"}},
    ])]);
    assert_eq!(reply, [call("same", "f", "{\"x\":1}"), call("call_chatcmpl7x_1", "f", "{\"x\":2}")]);
}

#[test]
fn odd_calls_are_read() {
    // Arguments as an object, an id that is a number, a number that is text, a function that is null.
    let object = json!([{"id": 7, "index": "0", "function": {"name": "f", "arguments": {"x": 1}}}, {"function": null}]);
    assert_eq!(calls(&[object]), [call("7", "f", "{\"x\":1}")]);
    let nothing = json!([{"id": "a", "index": 0, "function": {"name": "f", "arguments": null}}]);
    assert_eq!(calls(&[nothing]), [call("a", "f", "")]);
    let legacy = [
        r#"{"id":"r1","choices":[{"delta":{"function_call":{"name":"f","arguments":""}}}]}"#,
        r#"{"id":"r1","choices":[{"delta":{"function_call":{"arguments":"{}"}}}]}"#,
        r#"{"id":"r1","choices":[{"delta":{},"finish_reason":"function_call"}]}"#,
    ];
    let (reply, _) = replied(&legacy);
    assert_eq!(reply.finish, Finish::ToolCalls);
    let read: Vec<_> = reply.tool_calls().collect();
    assert_eq!((read.len(), read[0].name.as_str(), read[0].arguments.as_str()), (1, "f", "{}"));
    assert_eq!(read[0].id, "call_r1_0");
}

#[test]
fn a_whole_answer_has_all_parts_and_usage() {
    let answer = whole(&json!({
        "id": "chatcmpl-1", "object": "chat.completion",
        "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
            "role": "assistant", "content": "Let me see.", "reasoning_content": "hm",
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        }}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2},
    }));
    let kinds: Vec<&str> = answer
        .reply
        .parts
        .iter()
        .map(|part| match part {
            Part::Reasoning(_) => "reasoning",
            Part::Text(_) => "text",
            Part::ToolCall(_) => "call",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["reasoning", "text", "call"]);
    assert_eq!(answer.usage, Some(Usage { input_tokens: 9, output_tokens: 2, ..Usage::ZERO }));
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    for deep in [
        format!("{{\"choices\":[{{\"delta\":{{\"content\":{}", "[".repeat(200_000)),
        format!("{{\"x\":{}", "{\"a\":".repeat(200_000)),
        "[".repeat(200_000),
    ] {
        let _ = Chunks::default().step("", &deep, drop).unwrap_err();
        let _ = decode_reply(deep.as_bytes()).unwrap_err();
    }
}

#[test]
fn a_dialect_adapts_to_what_a_backend_refuses() {
    let old = Dialect { max_completion_tokens: false, zero_temperature: true, stream_options: true };
    let names = |parameters: &'static [&'static str]| move |name: &str| parameters.contains(&name);
    let newer = old.adapted(names(&["max_completion_tokens", "max_tokens"])).unwrap();
    assert!(newer.max_completion_tokens);
    assert!(!newer.adapted(names(&["max_tokens"])).unwrap().max_completion_tokens);
    assert_eq!(old.adapted(names(&["max_tokens"])), None);
    assert!(!old.adapted(names(&["stream_options"])).unwrap().stream_options);
    let warm = old.adapted(names(&["temperature"])).unwrap();
    assert!(!warm.zero_temperature);
    assert_eq!(warm.adapted(names(&["temperature"])), None);
}

proptest! {
    #[test]
    fn no_bytes_break_a_reader(data in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_reply(&data);
        let _ = Chunks::default().step("", &String::from_utf8_lossy(&data), drop);
    }

    /// JSON of the right names with values of any kind.
    #[test]
    fn no_json_breaks_a_reader(chunks in prop::collection::vec(arbitrary_chunk(), 1..6)) {
        let mut reader = Chunks::default();
        let (mut begun, mut written) = (0, Vec::new());
        for chunk in &chunks {
            let _ = decode_reply(chunk.as_bytes());
            let _ = reader.step("", chunk, |delta| written.push(delta));
        }
        for delta in &written {
            match delta {
                Delta::Text(text) | Delta::Reasoning(text) => prop_assert!(!text.is_empty()),
                Delta::ToolCall { index, id, name } => {
                    prop_assert_eq!(*index, begun);
                    prop_assert!(!id.is_empty() && !name.is_empty());
                    begun += 1;
                }
                Delta::Arguments { index, json } => prop_assert!(*index < begun && !json.is_empty()),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}

fn arbitrary_chunk() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("\"\"".to_owned()),
        Just("\"a\"".to_owned()),
        Just("\"{}\"".to_owned()),
        Just("0".to_owned()),
        Just("-1.5e9".to_owned()),
        Just("true".to_owned()),
    ];
    let names = prop::sample::select(vec![
        "id",
        "choices",
        "delta",
        "message",
        "content",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "index",
        "finish_reason",
        "usage",
        "error",
        "object",
        "function_call",
        "text",
        "thinking",
        "reasoning",
    ]);
    let any = leaf.prop_recursive(6, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec((names.clone(), inner), 0..5).prop_map(|all| {
                let fields: Vec<String> =
                    all.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    });
    let calls = prop::collection::vec((0..3_u8, "[ab]?", "[fg]?", "[{}a]{0,2}"), 0..3).prop_map(|calls| {
        let calls: Vec<Value> = calls
            .into_iter()
            .map(|(index, id, name, arguments)| {
                json!({"index": index, "id": id, "function": {"name": name, "arguments": arguments}})
            })
            .collect();
        json!({"choices": [{"delta": {"tool_calls": calls}}]}).to_string()
    });
    prop_oneof![any, calls]
}
