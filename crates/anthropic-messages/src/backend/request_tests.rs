//! Requests to backends: passed on, and translated.

use super::{BackendRequest, EffortStyle, SamplingStyle, backend_headers, encode_request};
use crate::MessagesRequest;
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tithe_chat::{
    Api, Chat, Effort, Image, ImageKind, Message, Original, Part, Reasoning, ReplyFormat, Role, Sampling,
    Schema, Tool, ToolCall, ToolChoice, ToolResult,
};

const REQUEST: BackendRequest<'static> = BackendRequest {
    model: "backend-model",
    max_output_tokens: 100,
    stream: true,
    deterministic: false,
    zero_temperature: false,
    sampling: SamplingStyle::Send,
    effort: EffortStyle::Adaptive,
};

fn text(chat: &Chat, request: &BackendRequest<'_>) -> String {
    let mut out = Vec::new();
    encode_request(&mut out, chat, request);
    String::from_utf8(out).unwrap()
}

fn encoded(chat: &Chat, request: &BackendRequest<'_>) -> Value {
    serde_json::from_str(&text(chat, request)).unwrap()
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn said(role: Role, text: &str) -> Message {
    Message::text(role, text)
}

fn chat(messages: Vec<Message>) -> Chat {
    Chat { messages, ..Chat::default() }
}

fn call(id: &str, arguments: &str) -> Part {
    Part::ToolCall(ToolCall { id: id.to_owned(), name: "f".to_owned(), arguments: arguments.to_owned() })
}

fn result(call: &str, text: &str) -> Part {
    let parts = if text.is_empty() { Vec::new() } else { vec![Part::Text(text.to_owned())] };
    Part::ToolResult(ToolResult { call: call.to_owned(), parts, is_error: false })
}

fn decoded(body: &str) -> Chat {
    MessagesRequest::decode(body.as_bytes(), Vec::new()).unwrap().chat
}

#[test]
fn a_request_of_this_api_is_passed_on_field_for_field() {
    let body = r#"{"model": "claude", "system": [{"type": "text",  "text": "s", "cache_control": {"type": "ephemeral"}}], "max_tokens": 4096,
        "messages": [{"role": "user", "content": "A\u00e9"}], "stream": false, "top_k": 5, "new_field": {"b": [1,  2]},
        "service_tier": "auto", "metadata": {"user_id": "u"}, "thinking": {"type": "adaptive", "display": "omitted"}}"#;
    let expected = concat!(
        r#"{"model":"backend-model","max_tokens":100,"stream":true,"#,
        r#""system":[{"type": "text",  "text": "s", "cache_control": {"type": "ephemeral"}}],"#,
        r#""messages":[{"role": "user", "content": "A\u00e9"}],"top_k":5,"new_field":{"b": [1,  2]},"#,
        r#""metadata":{"user_id": "u"},"thinking":{"type": "adaptive", "display": "omitted"}}"#,
    );
    assert_eq!(text(&decoded(body), &REQUEST), expected);
}

#[test]
fn a_budget_for_thinking_stays_below_the_output_limit() {
    for (budget, limit, expected) in [
        (2_000, 4_096, json!({"type": "enabled", "budget_tokens": 2_000})),
        (4_096, 4_096, json!({"type": "enabled", "budget_tokens": 4_095})),
        (4_096, 1_024, json!({"type": "disabled"})),
    ] {
        let body = json!({"model": "m", "max_tokens": 9_999, "messages": [{"role": "user", "content": "x"}],
                          "thinking": {"type": "enabled", "budget_tokens": budget}});
        let request = BackendRequest { max_output_tokens: limit, ..REQUEST };
        assert_eq!(encoded(&decoded(&body.to_string()), &request)["thinking"], expected);
    }
}

#[test]
fn reasoning_of_other_backends_does_not_reach_this_one() {
    let body = json!({"model": "m", "max_tokens": 9, "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "new_field": 1, "content": [
            {"type": "thinking", "thinking": "a", "signature": ""},
            {"type": "thinking", "thinking": "b", "signature": "s"},
            {"type": "text", "text": "c", "cache_control": {"type": "ephemeral"}},
        ]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "d"}]},
        {"role": "user", "content": [{"type": "text", "text": "e"}]},
    ]});
    let expected = json!([
        {"role": "user", "content": "x"},
        {"role": "assistant", "new_field": 1, "content": [
            {"type": "thinking", "thinking": "b", "signature": "s"},
            {"type": "text", "text": "c", "cache_control": {"type": "ephemeral"}},
        ]},
        {"role": "user", "content": [{"type": "text", "text": "e"}]},
    ]);
    assert_eq!(encoded(&decoded(&body.to_string()), &REQUEST)["messages"], expected);
}

#[test]
fn only_headers_of_the_body_are_passed_on() {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = vec![
        header("anthropic-version", "2023-06-01"),
        header("anthropic-beta", "a-1,b-2"),
        header("anthropic-beta", "c-3\r\nx-api-key: k"),
        header("anthropic-workspace-id", "wrkspc_1"),
        header("anthropic-user-profile-id", "u"),
        header("anthropic-dangerous-direct-browser-access", "true"),
    ];
    let original = Original { api: Api::AnthropicMessages, body: Vec::new(), headers, own_tools: Vec::new() };
    let passed: Vec<(&str, &str)> = backend_headers(&original).collect();
    assert_eq!(passed, [("anthropic-version", "2023-06-01"), ("anthropic-beta", "a-1,b-2")]);
}

#[test]
fn system_messages_get_a_field_of_their_own() {
    let chat = chat(vec![
        said(Role::System, "be brief"),
        said(Role::User, "hello"),
        said(Role::Assistant, "hi"),
        said(Role::System, "be kind"),
        said(Role::User, "bye"),
    ]);
    let request = BackendRequest { deterministic: true, zero_temperature: true, ..REQUEST };
    let expected = json!({
        "model": "backend-model", "system": "be brief\n\nbe kind", "max_tokens": 100, "temperature": 0, "stream": true,
        "messages": [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "hi"},
            {"role": "user", "content": "bye"},
        ],
    });
    assert_eq!(encoded(&chat, &request), expected);
}

#[test]
fn instructions_alone_are_a_message() {
    let body = encoded(&chat(vec![said(Role::System, "say hi")]), &REQUEST);
    assert_eq!(body["messages"], json!([{"role": "user", "content": "say hi"}]));
    assert_eq!(body["system"], json!(null));
}

#[test]
fn turns_are_merged_and_results_come_first() {
    let png = Image::new(ImageKind::Png, "iVBORw0KGgo=".to_owned()).unwrap();
    let failed = ToolResult {
        call: "call:2".to_owned(),
        parts: vec![Part::Text("no".to_owned()), Part::Image(png.clone())],
        is_error: true,
    };
    let signed = Reasoning { text: "hm".to_owned(), signature: Some("s".to_owned()), is_redacted: false };
    let unsigned = Reasoning { text: "hm".to_owned(), ..Reasoning::default() };
    let redacted = Reasoning { signature: Some("d".to_owned()), is_redacted: true, ..Reasoning::default() };
    let assistant = vec![
        Part::Reasoning(unsigned),
        Part::Reasoning(signed),
        Part::Reasoning(redacted),
        Part::Text(" ".to_owned()),
        call("call_1", "{\"a\": 1}"),
    ];
    let chat = chat(vec![
        said(Role::User, "one"),
        Message { role: Role::User, parts: vec![Part::Text("two".to_owned()), Part::Image(png)] },
        Message { role: Role::Assistant, parts: assistant },
        Message { role: Role::Assistant, parts: vec![call("call:2", ""), call("", "oops")] },
        Message { role: Role::User, parts: vec![Part::Text("and".to_owned()), result("call_1", "yes")] },
        Message { role: Role::User, parts: vec![Part::ToolResult(failed), result("", "")] },
    ]);
    let source = json!({"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="});
    let expected = json!([
        {"role": "user", "content": [
            {"type": "text", "text": "one"},
            {"type": "text", "text": "two"},
            {"type": "image", "source": source},
        ]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "redacted_thinking", "data": "d"},
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}},
            {"type": "tool_use", "id": "call_2", "name": "f", "input": {}},
            {"type": "tool_use", "id": "_", "name": "f", "input": {"raw": "oops"}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "call_1", "content": "yes"},
            {"type": "tool_result", "tool_use_id": "call_2", "is_error": true,
             "content": [{"type": "text", "text": "no"}, {"type": "image", "source": source}]},
            {"type": "tool_result", "tool_use_id": "_"},
            {"type": "text", "text": "and"},
        ]},
    ]);
    assert_eq!(encoded(&chat, &REQUEST)["messages"], expected);
}

#[test]
fn an_answer_to_be_continued_does_not_end_in_blanks() {
    let messages = encoded(&chat(vec![said(Role::User, "a "), said(Role::Assistant, "b \n")]), &REQUEST);
    assert_eq!(messages["messages"][0]["content"], "a ");
    assert_eq!(messages["messages"][1]["content"], "b");
}

#[test]
fn tools_are_translated_and_each_has_a_schema_of_an_object() {
    let tool = |parameters: Option<&str>| Tool {
        name: "f".to_owned(),
        description: Some("d".to_owned()),
        parameters: parameters.map(raw),
        strict: Some(true),
    };
    for (parameters, expected) in [
        (None, json!({"type": "object", "properties": {}})),
        (Some("{ }"), json!({"type": "object", "properties": {}})),
        (Some("null"), json!({"type": "object", "properties": {}})),
        (Some("{\"properties\":{\"a\":{}}}"), json!({"type": "object", "properties": {"a": {}}})),
        (Some("{\"type\":\"object\"}"), json!({"type": "object"})),
    ] {
        let chat = Chat { tools: vec![tool(parameters)], ..chat(vec![said(Role::User, "x")]) };
        let body = encoded(&chat, &REQUEST);
        assert_eq!(body["tools"], json!([{"name": "f", "description": "d", "input_schema": expected}]));
        assert_eq!(body["tool_choice"], json!(null));
    }
    for (choice, parallel, expected) in [
        (ToolChoice::Auto, Some(true), json!(null)),
        (ToolChoice::Auto, Some(false), json!({"type": "auto", "disable_parallel_tool_use": true})),
        (ToolChoice::None, Some(false), json!({"type": "none"})),
        (ToolChoice::Required, None, json!({"type": "any"})),
        (
            ToolChoice::Named("f".to_owned()),
            Some(false),
            json!({"type": "tool", "name": "f", "disable_parallel_tool_use": true}),
        ),
    ] {
        let chat = Chat {
            tools: vec![tool(None)],
            tool_choice: choice.clone(),
            parallel_tool_calls: parallel,
            ..chat(vec![said(Role::User, "x")])
        };
        assert_eq!(encoded(&chat, &REQUEST)["tool_choice"], expected);
        assert_eq!(encoded(&Chat { tools: Vec::new(), ..chat }, &REQUEST)["tool_choice"], json!(null));
    }
}

#[test]
fn an_exact_schema_is_demanded_and_others_are_asked_for() {
    let format = |strict| {
        let schema = raw("{\"type\":\"object\"}");
        ReplyFormat::Schema(Schema { name: "n".to_owned(), description: None, schema, strict })
    };
    let messages = vec![said(Role::System, "s"), said(Role::User, "x")];
    let body = encoded(&Chat { format: format(Some(true)), ..chat(messages.clone()) }, &REQUEST);
    let expected = json!({"format": {"type": "json_schema", "schema": {"type": "object"}}});
    assert_eq!((&body["output_config"], &body["system"]), (&expected, &json!("s")));
    for format in [format(None), ReplyFormat::Json] {
        let body = encoded(&Chat { format, ..chat(messages.clone()) }, &REQUEST);
        assert_eq!(body["output_config"], json!(null));
        assert!(body["system"].as_str().unwrap().starts_with("s\n\nAnswer with "), "{body}");
    }
}

#[test]
fn sampling_is_kept_within_what_the_api_takes() {
    let sampling = |temperature, top_p| Sampling {
        temperature,
        top_p,
        stop: vec!["\n".to_owned(), "END".to_owned(), "\"".to_owned()],
    };
    for (temperature, top_p, expected) in [
        (Some(1.7), Some(0.5), json!([1.0, null])),
        (Some(0.25), None, json!([0.25, null])),
        (Some(0.0), None, json!([0, null])),
        (None, Some(0.5), json!([null, 0.5])),
        (None, None, json!([null, null])),
    ] {
        let chat = Chat { sampling: sampling(temperature, top_p), ..chat(vec![said(Role::User, "x")]) };
        let body = encoded(&chat, &REQUEST);
        assert_eq!(json!([body["temperature"], body["top_p"]]), expected);
        assert_eq!(body["stop_sequences"], json!(["END", "\""]));
        let body = encoded(&chat, &BackendRequest { sampling: SamplingStyle::Omit, ..REQUEST });
        assert_eq!(json!([body["temperature"], body["top_p"]]), json!([null, null]));
    }
}

#[test]
fn effort_is_said_as_the_backend_takes_it() {
    let asked = |effort, style, max_output_tokens, tool_choice| {
        let tools = vec![Tool { name: "f".to_owned(), description: None, parameters: None, strict: None }];
        let sampling = Sampling { temperature: Some(0.5), ..Sampling::default() };
        let chat =
            Chat { effort: Some(effort), tools, tool_choice, sampling, ..chat(vec![said(Role::User, "x")]) };
        let body = encoded(&chat, &BackendRequest { effort: style, max_output_tokens, ..REQUEST });
        json!([body["output_config"]["effort"], body["thinking"], body["temperature"]])
    };
    let adaptive = json!({"type": "adaptive"});
    let budget = |tokens: u64| json!({"type": "enabled", "budget_tokens": tokens});
    let auto = || ToolChoice::Auto;
    for (got, expected) in [
        (asked(Effort::High, EffortStyle::Adaptive, 9_000, auto()), json!(["high", adaptive, null])),
        (asked(Effort::Minimal, EffortStyle::Adaptive, 9_000, auto()), json!(["low", adaptive, null])),
        (asked(Effort::None, EffortStyle::Adaptive, 9_000, auto()), json!([null, null, 0.5])),
        (asked(Effort::High, EffortStyle::Adaptive, 9_000, ToolChoice::Required), json!(["high", null, 0.5])),
        (asked(Effort::High, EffortStyle::Omit, 9_000, auto()), json!([null, null, 0.5])),
        (asked(Effort::Medium, EffortStyle::Budget, 90_000, auto()), json!([null, budget(8_192), null])),
        (asked(Effort::High, EffortStyle::Budget, 8_000, auto()), json!([null, budget(6_000), null])),
        (asked(Effort::High, EffortStyle::Budget, 1_000, auto()), json!([null, null, 0.5])),
        (asked(Effort::High, EffortStyle::Budget, 9_000, ToolChoice::Required), json!([null, null, 0.5])),
    ] {
        assert_eq!(got, expected);
    }
}

#[test]
fn a_budget_is_not_given_where_earlier_calls_were_made_without_thinking() {
    let messages = vec![
        said(Role::User, "x"),
        Message { role: Role::Assistant, parts: vec![call("c", "{}")] },
        Message { role: Role::User, parts: vec![result("c", "y")] },
    ];
    let chat = Chat { effort: Some(Effort::High), ..chat(messages) };
    let request = BackendRequest { effort: EffortStyle::Budget, max_output_tokens: 9_000, ..REQUEST };
    assert_eq!(encoded(&chat, &request)["thinking"], json!(null));
}

fn any_text() -> impl Strategy<Value = String> {
    "\\PC{0,4}[a-z]"
}

/// A turn of a chat that this API can say: what it consists of, in the order that this API demands.
fn turn(role: Role) -> impl Strategy<Value = Message> {
    let png = Image::new(ImageKind::Png, "iVBORw0KGgo=".to_owned()).unwrap();
    let parts = if role == Role::User {
        let result = ("[a-z]{1,3}", prop::collection::vec(any_text(), 0..3), any::<bool>()).prop_map(
            |(call, texts, is_error)| {
                let parts = texts.into_iter().map(Part::Text).collect();
                Part::ToolResult(ToolResult { call, parts, is_error })
            },
        );
        let other = prop_oneof![any_text().prop_map(Part::Text), Just(Part::Image(png))];
        (prop::collection::vec(result, 0..3), prop::collection::vec(other, 1..3))
            .prop_map(|(results, others)| results.into_iter().chain(others).collect::<Vec<_>>())
            .boxed()
    } else {
        let reasoning =
            ("\\PC{0,4}", "[a-z]{1,4}", any::<bool>()).prop_map(|(text, signature, is_redacted)| {
                let text = if is_redacted { String::new() } else { text };
                Part::Reasoning(Reasoning { text, signature: Some(signature), is_redacted })
            });
        let call =
            ("[a-z]{1,3}", any_text()).prop_map(|(id, text)| call(&id, &json!({ "a": text }).to_string()));
        prop::collection::vec(prop_oneof![reasoning, call, any_text().prop_map(Part::Text)], 1..5).boxed()
    };
    parts.prop_map(move |parts| Message { role, parts })
}

proptest! {
    #[test]
    fn a_translated_chat_is_read_back(
        system in prop::option::of(any_text()),
        turns in prop::collection::vec((turn(Role::User), turn(Role::Assistant)), 0..4),
        last in turn(Role::User),
    ) {
        let system = system.map(|text| said(Role::System, &text));
        let turns = turns.into_iter().flat_map(|(user, assistant)| [user, assistant]);
        let messages: Vec<Message> = system.into_iter().chain(turns).chain([last]).collect();
        let chat = chat(messages.clone());
        let body = text(&chat, &REQUEST);
        let request = MessagesRequest::decode(body.as_bytes(), Vec::new()).unwrap();
        prop_assert_eq!(&request.chat.messages, &messages);
        prop_assert_eq!((request.model.as_str(), request.stream), (REQUEST.model, true));
        // What was read is passed on as it was written.
        prop_assert_eq!(text(&request.chat, &REQUEST), body);
    }

    #[test]
    fn any_chat_becomes_json(
        texts in prop::collection::vec((0..3usize, "\\PC{0,6}"), 0..6),
        arguments in "\\PC{0,8}",
        schema in prop::sample::select(vec!["{}", "{ \"type\" : null}", "[]", "5", "{\"a\":{}}"]),
    ) {
        let roles = [Role::System, Role::User, Role::Assistant];
        let mut messages: Vec<Message> = texts.iter().map(|(role, text)| said(roles[*role], text)).collect();
        messages.push(Message { role: Role::Assistant, parts: vec![call("c", &arguments), result("c", &arguments)] });
        let tools = vec![Tool { name: arguments.clone(), description: None, parameters: Some(raw(schema)), strict: None }];
        let body = encoded(&Chat { tools, ..chat(messages) }, &REQUEST);
        prop_assert_eq!(&body["model"], REQUEST.model);
    }
}
