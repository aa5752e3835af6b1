//! What backends get.

use super::*;
use crate::ChatCompletionRequest;
use crate::backend::Dialect;
use proptest::prelude::*;
use serde_json::{Value, json};
use tithe_chat::{Image, Message, Part, Reasoning, Role, ToolCall, ToolResult};

const DIALECT: Dialect =
    Dialect { max_completion_tokens: false, zero_temperature: true, stream_options: true };

const REQUEST: BackendRequest<'_> = BackendRequest {
    model: "vendor/m",
    max_output_tokens: 100,
    stream: false,
    deterministic: false,
    dialect: DIALECT,
};

fn text(chat: &Chat, request: &BackendRequest<'_>) -> String {
    let mut out = b"before ".to_vec();
    encode_request(&mut out, chat, request);
    String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().to_owned()
}

fn encoded(chat: &Chat, request: &BackendRequest<'_>) -> Value {
    serde_json::from_str(&text(chat, request)).unwrap()
}

fn decoded(body: &str) -> Chat {
    ChatCompletionRequest::decode(body.as_bytes()).unwrap().chat
}

#[test]
fn a_request_in_this_api_is_passed_on_as_it_was_written() {
    let chat = decoded(
        r#"{"messages":[ {"role":"developer","content":[{"type":"text","text":"s","prompt_cache_breakpoint":{"mode":"explicit"}}]},
            {"role":"user","name":"eve","content":"h\u0069"}],
            "temperature":0.70,"model":"m","max_tokens":5,"max_completion_tokens":6,"stream":true,"stream_options":{"include_obfuscation":true},
            "seed":1e3,"top_k":40,"user":"u","prompt_cache_key":"k","new":{"a":[1 ,2]}}"#,
    );
    assert_eq!(
        text(&chat, &BackendRequest { stream: true, ..REQUEST }),
        r#"{"messages":[ {"role":"developer","content":[{"type":"text","text":"s","prompt_cache_breakpoint":{"mode":"explicit"}}]},
            {"role":"user","name":"eve","content":"h\u0069"}],"temperature":0.70,"seed":1e3,"top_k":40,"user":"u","prompt_cache_key":"k","new":{"a":[1 ,2]},"model":"vendor/m","max_tokens":100,"stream":true,"stream_options":{"include_usage":true}}"#
    );
}

#[test]
fn what_changes_the_price_the_model_or_the_account_is_withheld() {
    let mut fields = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    for name in crate::backend::withheld::all() {
        fields.as_object_mut().unwrap().entry(name).or_insert(json!(null));
    }
    for (name, value) in [
        ("models", json!(["dear"])),
        ("priority", json!(-1)),
        ("Api_Base", json!("http://127.0.0.1")),
        ("n_predict", json!(100_000)),
        ("api_base", json!("http://127.0.0.1")),
        ("store", json!(true)),
        ("metadata", json!({"a": "b"})),
        ("n", json!(1)),
        ("service_tier", json!("priority")),
        ("prediction", json!({"type": "content", "content": "x"})),
        ("provider", json!({"order": ["dear"]})),
    ] {
        fields[name] = value;
    }
    let body = encoded(&decoded(&fields.to_string()), &REQUEST);
    assert_eq!(
        body,
        json!({"model": "vendor/m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100, "stream": false})
    );
    for tier in ["auto", "default"] {
        fields["service_tier"] = json!(tier);
        assert_eq!(encoded(&decoded(&fields.to_string()), &REQUEST)["service_tier"], tier);
    }
}

#[test]
fn the_dialect_says_how_the_backend_is_asked() {
    let chat = decoded(r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":1}"#);
    let dialect = Dialect { max_completion_tokens: true, zero_temperature: false, stream_options: false };
    let request = BackendRequest { stream: true, deterministic: true, dialect, ..REQUEST };
    let own = Chat {
        original: None,
        ..decoded(r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":1}"#)
    };
    for chat in [&chat, &own] {
        let messages = json!([{"role": "user", "content": "hi"}]);
        assert_eq!(
            encoded(chat, &request),
            json!({"model": "vendor/m", "messages": messages, "max_completion_tokens": 100, "stream": true})
        );
        let request = BackendRequest { deterministic: true, ..REQUEST };
        assert_eq!(
            encoded(chat, &request),
            json!({"model": "vendor/m", "messages": messages, "max_tokens": 100, "temperature": 0, "stream": false})
        );
        assert_eq!(encoded(chat, &REQUEST)["temperature"].as_f64(), Some(1.0));
    }
}

fn schema() -> Box<RawValue> {
    RawValue::from_string(r#"{"type":"object"}"#.to_owned()).unwrap()
}

#[test]
fn a_chat_of_another_api_is_translated() {
    let png = Image::from_data_url("data:image/png;base64,iVBORw0KGgoA").unwrap();
    let text = |text: &str| Part::Text(text.into());
    let call = ToolCall { id: "a".into(), name: "f".into(), arguments: String::new() };
    let result =
        |call: &str, parts| Part::ToolResult(ToolResult { call: call.into(), parts, is_error: false });
    let reasoning = Reasoning { text: "hm".into(), signature: Some("s".into()), is_redacted: false };
    let messages = vec![
        Message { role: Role::System, parts: vec![text("one"), text("two")] },
        Message {
            role: Role::User,
            parts: vec![text("look"), Part::Image(Image { detail: Some("low".into()), ..png.clone() })],
        },
        Message {
            role: Role::Assistant,
            parts: vec![Part::Reasoning(reasoning), text("I "), text("see"), Part::ToolCall(call.clone())],
        },
        Message { role: Role::Assistant, parts: vec![Part::ToolCall(ToolCall { id: "b".into(), ..call })] },
        Message {
            role: Role::User,
            parts: vec![
                text("and now?"),
                result("a", vec![text("1"), Part::Image(png)]),
                result("b", vec![text("2"), text("3")]),
            ],
        },
        Message { role: Role::Assistant, parts: vec![] },
        Message { role: Role::User, parts: vec![] },
    ];
    let chat = Chat {
        messages,
        tools: vec![Tool {
            name: "f".into(),
            description: Some("d".into()),
            parameters: Some(schema()),
            strict: None,
        }],
        tool_choice: ToolChoice::Named("f".into()),
        parallel_tool_calls: Some(false),
        format: ReplyFormat::Schema(Schema {
            name: "s".into(),
            description: None,
            schema: schema(),
            strict: Some(true),
        }),
        effort: Some(Effort::Low),
        max_output_tokens: Some(7),
        sampling: tithe_chat::Sampling { temperature: Some(0.5), top_p: Some(0.25), stop: vec!["x".into()] },
        original: None,
    };
    let url = |url: &str| json!({"type": "image_url", "image_url": {"url": url}});
    let f = json!({"name": "f", "arguments": "{}"});
    assert_eq!(
        encoded(&chat, &REQUEST),
        json!({
            "model": "vendor/m",
            "messages": [
                {"role": "system", "content": "one\n\ntwo"},
                {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgoA", "detail": "low"}}]},
                {"role": "assistant", "content": "I see", "tool_calls": [{"id": "a", "type": "function", "function": f}]},
                {"role": "assistant", "content": null, "tool_calls": [{"id": "b", "type": "function", "function": f}]},
                {"role": "tool", "tool_call_id": "a", "content": "1"},
                {"role": "tool", "tool_call_id": "b", "content": "2\n\n3"},
                {"role": "user", "content": [url("data:image/png;base64,iVBORw0KGgoA"), {"type": "text", "text": "and now?"}]},
                {"role": "assistant", "content": ""},
                {"role": "user", "content": ""},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "parallel_tool_calls": false,
            "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}, "strict": true}},
            "reasoning_effort": "low", "temperature": 0.5, "top_p": 0.25, "stop": ["x"], "max_tokens": 100, "stream": false,
        })
    );
}

#[test]
fn what_is_not_asked_for_is_not_said() {
    let chat = Chat {
        messages: vec![Message::text(Role::User, "hi")],
        tool_choice: ToolChoice::Required,
        parallel_tool_calls: Some(true),
        ..Chat::default()
    };
    let messages = json!([{"role": "user", "content": "hi"}]);
    assert_eq!(
        encoded(&chat, &REQUEST),
        json!({"model": "vendor/m", "messages": messages, "max_tokens": 100, "stream": false})
    );
    let json = Chat { format: ReplyFormat::Json, ..chat };
    assert_eq!(encoded(&json, &REQUEST)["response_format"], json!({"type": "json_object"}));
}

/// Messages as this API can say them: texts that follow each other are one, results are apart from what the user says, and
/// reasoning is not passed on.
fn messages() -> impl Strategy<Value = Vec<Message>> {
    let text = || "[a-z\"\\\\\n\u{e9}]{1,6}";
    let image = || {
        let detail = prop::option::of(Just("high".to_owned()));
        detail.prop_map(|detail| {
            Part::Image(Image { detail, ..Image::from_data_url("data:image/gif;base64,R0lGODlh").unwrap() })
        })
    };
    let call = (text(), "[a-z]{1,6}", "[{}a]{1,3}")
        .prop_map(|(id, name, arguments)| Part::ToolCall(ToolCall { id, name, arguments }));
    let result = (text(), text()).prop_map(|(call, text)| {
        Part::ToolResult(ToolResult { call, parts: vec![Part::Text(text)], is_error: false })
    });
    let message = prop_oneof![
        text().prop_map(|text| Message::text(Role::System, text)),
        text().prop_map(|text| Message::text(Role::User, text)),
        (text(), image(), image(), any::<bool>()).prop_map(|(text, one, other, is_first)| {
            let text = Part::Text(text);
            let parts = if is_first { vec![text, one, other] } else { vec![one, text, other] };
            Message { role: Role::User, parts }
        }),
        (prop::option::of(text()), prop::collection::vec(call, 0..3)).prop_map(|(text, calls)| {
            let text = if calls.is_empty() { Some(text.unwrap_or_default()) } else { text };
            let parts = text.map(Part::Text).into_iter().chain(calls).collect();
            Message { role: Role::Assistant, parts }
        }),
        prop::collection::vec(result, 1..4).prop_map(|parts| Message { role: Role::User, parts }),
    ];
    prop::collection::vec(message, 1..8).prop_map(|mut messages| {
        // Results that follow each other are one message.
        messages.dedup_by(|message, before| {
            let are_results = |message: &Message| matches!(message.parts.first(), Some(Part::ToolResult(_)));
            are_results(message) && are_results(before)
        });
        messages
    })
}

proptest! {
    #[test]
    fn messages_survive_the_wire(messages in messages()) {
        let chat = Chat { messages, ..Chat::default() };
        let read = decoded(&text(&chat, &REQUEST));
        prop_assert_eq!(&read.messages, &chat.messages);
        // And once more, as a proxy in front of this server gets them.
        let again = decoded(&text(&read, &REQUEST));
        prop_assert_eq!(again.messages, chat.messages);
    }
}
