//! What clients send, good and bad.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use tithe_chat::{Message, Part, Role, ToolCall, ToolChoice, ToolResult};

const PNG: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

fn decode(body: &Value) -> Result<ChatCompletionRequest, RequestError> {
    ChatCompletionRequest::decode(body.to_string().as_bytes())
}

/// A request with these fields beside a model and a message.
fn with(fields: Value) -> Result<ChatCompletionRequest, RequestError> {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    let Value::Object(fields) = fields else { panic!("no object") };
    body.as_object_mut().unwrap().extend(fields);
    decode(&body)
}

fn messages(messages: &Value) -> Result<Vec<Message>, RequestError> {
    decode(&json!({"model": "m", "messages": messages})).map(|request| request.chat.messages)
}

fn refused<T: std::fmt::Debug>(result: Result<T, RequestError>) -> (String, String) {
    let error = result.unwrap_err();
    (error.param.unwrap_or_default(), error.message)
}

#[test]
fn everything_of_a_chat_is_read() {
    let request = with(json!({
        "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": false,
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}, "strict": true}},
        "reasoning_effort": "xhigh", "max_tokens": 5, "max_completion_tokens": 7,
        "temperature": 0.5, "top_p": 1, "stop": ["a", "b"], "n": 1, "stream": true, "stream_options": {"include_usage": true},
        "modalities": ["text"], "logprobs": true, "seed": 7, "user": "u", "metadata": {"a": "b"}, "store": false,
        "something_new": [[[]]], "audio": null, "web_search_options": null, "plugins": [], "functions": [],
    }))
    .unwrap();
    let chat = &request.chat;
    assert!(request.stream && request.include_usage);
    assert_eq!(chat.tools[0].name, "f");
    assert_eq!(chat.tools[0].parameters.as_ref().unwrap().get(), r#"{"type":"object"}"#);
    assert_eq!(chat.tool_choice, ToolChoice::Named("f".into()));
    assert_eq!(chat.parallel_tool_calls, Some(false));
    assert!(
        matches!(&chat.format, ReplyFormat::Schema(schema) if schema.name == "s" && schema.strict == Some(true))
    );
    assert_eq!(chat.effort, Some(Effort::Max));
    assert_eq!(chat.max_output_tokens, Some(7));
    let stop = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(chat.sampling, Sampling { temperature: Some(0.5), top_p: Some(1.0), stop });
    let original = chat.original.as_ref().unwrap();
    assert_eq!(original.field("something_new").unwrap().get(), "[[[]]]");
    assert_eq!(original.field("seed").unwrap().get(), "7");
}

#[test]
fn the_original_has_each_name_once_with_its_last_value_as_it_was_written() {
    let body = br#" {"model":"a","messages":[{"role":"user","content":"1"}],"x":1.50,"model":"b","messages":[{"role":"user","content":"2"}]} "#;
    let request = ChatCompletionRequest::decode(body).unwrap();
    assert_eq!(request.model, "b");
    assert_eq!(request.chat.messages, [Message::text(Role::User, "2")]);
    let original = request.chat.original.unwrap();
    let fields: Vec<(&str, &str)> =
        original.body.iter().map(|(name, value)| (name.as_str(), value.get())).collect();
    assert_eq!(
        fields,
        [("model", "\"b\""), ("messages", r#"[{"role":"user","content":"2"}]"#), ("x", "1.50")]
    );
}

#[test]
fn every_role_is_read() {
    let read = messages(&json!([
        {"role": "system", "content": "s"},
        {"role": "developer", "content": [{"type": "text", "text": "d"}]},
        {"role": "user", "name": "eve", "content": [{"type": "text", "text": "u"}, {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}]},
        {"role": "assistant", "content": null, "reasoning_content": "hm", "refusal": null, "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{"}},
        ]},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "1"}]},
        {"role": "assistant", "content": "", "function_call": {"name": "h", "arguments": "{}"}},
        {"role": "function", "name": "h", "content": null},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "audio": null},
    ]))
    .unwrap();
    let call = |id: &str, name: &str, arguments: &str| {
        Part::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into() })
    };
    let result =
        |call: &str, parts| Part::ToolResult(ToolResult { call: call.into(), parts, is_error: false });
    let text = |text: &str| Part::Text(text.into());
    let reasoning = tithe_chat::Reasoning { text: "hm".into(), ..Default::default() };
    let Part::Image(image) = &read[2].parts[1] else { panic!("{read:?}") };
    assert_eq!((image.data_url().as_str(), image.detail.as_deref()), (PNG, Some("low")));
    let expected = [
        (Role::System, vec![text("s")]),
        (Role::System, vec![text("d")]),
        (Role::User, vec![text("u"), Part::Image(image.clone())]),
        (Role::Assistant, vec![Part::Reasoning(reasoning), call("a", "f", "{}"), call("b", "g", "{")]),
        (Role::User, vec![result("b", vec![text("2")]), result("a", vec![text("1")])]),
        (Role::Assistant, vec![call("call_6", "h", "{}")]),
        (Role::User, vec![result("call_6", vec![])]),
        (Role::Assistant, vec![text("no")]),
    ];
    assert_eq!(read, expected.map(|(role, parts)| Message { role, parts }));
}

#[test]
fn odd_but_real_requests_are_read() {
    for fields in [
        json!({"tools": null, "tool_choice": null, "stop": null, "n": null, "max_tokens": null, "temperature": null}),
        json!({"tools": [], "tool_choice": "auto", "response_format": {"type": "text"}, "stop": []}),
        json!({"tools": [{"function": {"name": "f"}}], "tool_choice": "required", "parallel_tool_calls": null}),
        json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": null, "description": null, "strict": null}}]}),
        json!({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}}),
        json!({"reasoning_effort": "default", "temperature": 2, "top_p": 0, "function_call": "auto"}),
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "s"}}}),
        json!({"stream_options": {"include_usage": null, "include_obfuscation": false}, "stream": null}),
        json!({"logprobs": "yes", "seed": "seven", "user": {}, "metadata": 3, "store": "no", "logit_bias": []}),
    ] {
        assert!(with(fields.clone()).is_ok(), "{fields}: {:?}", with(fields.clone()));
    }
    for content in [
        json!([{"role": "assistant", "content": null}]),
        json!([{"role": "assistant"}]),
        json!([{"role": "user", "content": []}]),
        json!([{"role": "user", "content": ["a", {"type": "image_url", "image_url": PNG}]}]),
        json!([{"role": "assistant", "content": "a", "tool_calls": [], "reasoning": {"odd": 1}, "annotations": []}]),
    ] {
        assert!(messages(&content).is_ok(), "{content}: {:?}", messages(&content));
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_wrong_field_is_named_with_what_was_expected_and_what_is_there() {
    for (fields, param, message) in [
        (json!({"model": 5}), "model", "invalid model: expected a string, got a number"),
        (json!({"model": null}), "model", "missing model: expected the name of a model"),
        (json!({"model": ""}), "model", "invalid model: expected the name of a model, got \"\""),
        (json!({"messages": null}), "messages", "missing messages: expected an array of messages"),
        (
            json!({"messages": "hi"}),
            "messages",
            "invalid messages: expected an array of messages, got a string",
        ),
        (json!({"messages": []}), "messages", "invalid messages: expected at least 1 message, got none"),
        (json!({"max_tokens": 0}), "max_tokens", "invalid max_tokens: expected an integer above 0, got 0"),
        (
            json!({"max_tokens": -1, "max_completion_tokens": 4}),
            "max_tokens",
            "invalid max_tokens: expected an integer above 0, got -1",
        ),
        (
            json!({"max_completion_tokens": 1.5}),
            "max_completion_tokens",
            "invalid max_completion_tokens: expected an integer above 0, got 1.5",
        ),
        (
            json!({"max_completion_tokens": "9"}),
            "max_completion_tokens",
            "invalid max_completion_tokens: expected an integer above 0, got a string",
        ),
        (json!({"n": 2}), "n", "unsupported n: expected 1 answer to a request, got 2"),
        (json!({"n": 0}), "n", "invalid n: expected an integer above 0, got 0"),
        (
            json!({"temperature": "hot"}),
            "temperature",
            "invalid temperature: expected a number, got a string",
        ),
        (
            json!({"temperature": 2.1}),
            "temperature",
            "invalid temperature: expected a number from 0 to 2, got 2.1",
        ),
        (json!({"top_p": -1}), "top_p", "invalid top_p: expected a number from 0 to 1, got -1"),
        (json!({"stop": 7}), "stop", "invalid stop: expected a string or an array of strings, got a number"),
        (json!({"stop": ["a", 7]}), "stop[1]", "invalid stop[1]: expected a string, got a number"),
        (json!({"stream": "yes"}), "stream", "invalid stream: expected a boolean, got a string"),
        (
            json!({"stream_options": true}),
            "stream_options",
            "invalid stream_options: expected an object, got a boolean",
        ),
        (
            json!({"stream_options": {"include_usage": 1}}),
            "stream_options.include_usage",
            "invalid stream_options.include_usage: expected a boolean, got a number",
        ),
        (
            json!({"parallel_tool_calls": []}),
            "parallel_tool_calls",
            "invalid parallel_tool_calls: expected a boolean, got an array",
        ),
        (
            json!({"reasoning_effort": "huge"}),
            "reasoning_effort",
            "invalid reasoning_effort: expected none, minimal, low, medium, high, xhigh or max, got \"huge\"",
        ),
        (
            json!({"response_format": {"type": "xml"}}),
            "response_format.type",
            "invalid response_format.type: expected text, json_object or json_schema, got \"xml\"",
        ),
        (
            json!({"response_format": {"type": "json_schema"}}),
            "response_format.json_schema",
            "missing response_format.json_schema: expected an object",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": []}}}),
            "response_format.json_schema.schema",
            "invalid response_format.json_schema.schema: expected a JSON schema, an object, got an array",
        ),
        (json!({"tools": {}}), "tools", "invalid tools: expected an array of tools, got an object"),
        (json!({"tools": [7]}), "tools[0]", "invalid tools[0]: expected an object, got a number"),
        (
            json!({"tools": [{"type": "web_search"}]}),
            "tools[0].type",
            "unsupported tools[0].type: expected function, which the client runs, got \"web_search\"",
        ),
        (
            json!({"tools": [{"type": "function"}]}),
            "tools[0].function",
            "missing tools[0].function: expected an object",
        ),
        (
            json!({"tools": [{"type": "function", "function": {}}]}),
            "tools[0].function.name",
            "missing tools[0].function.name: expected a name",
        ),
        (
            json!({"tools": [{"type": "function", "function": {"name": "a b"}}]}),
            "tools[0].function.name",
            "invalid tools[0].function.name: expected 1 to 64 letters, digits, underscores and dashes, got \"a b\"",
        ),
        (
            json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": "x"}}]}),
            "tools[0].function.parameters",
            "invalid tools[0].function.parameters: expected a JSON schema, an object, got a string",
        ),
        (
            json!({"tool_choice": "sometimes"}),
            "tool_choice",
            "invalid tool_choice: expected none, auto, required, or an object that names a function, got \"sometimes\"",
        ),
        (
            json!({"tool_choice": {"type": "function", "function": {"name": "g"}}}),
            "tool_choice.function.name",
            "invalid tool_choice.function.name: expected the name of one of the tools, got \"g\"",
        ),
        (
            json!({"tool_choice": {"type": "custom"}}),
            "tool_choice.type",
            "unsupported tool_choice.type: expected function or allowed_tools, got \"custom\"",
        ),
        (
            json!({"modalities": ["text", "audio"]}),
            "modalities[1]",
            "unsupported modalities[1]: expected text, got \"audio\"",
        ),
        (json!({"audio": {"voice": "x"}}), "audio", "unsupported audio: expected no audio, got a voice"),
        (
            json!({"web_search_options": {}}),
            "web_search_options",
            "unsupported web_search_options: expected no search or plugin of the backend's, which has no price here",
        ),
        (
            json!({"functions": [{"name": "f"}]}),
            "functions",
            "unsupported functions: expected tools and tool_choice, got the functions that they replace",
        ),
    ] {
        assert_eq!(refused(with(fields.clone())), (param.to_owned(), message.to_owned()), "{fields}");
    }
}

#[test]
fn a_wrong_message_is_named_with_its_place() {
    for (message, param, error) in [
        (json!("hi"), "messages[1]", "invalid messages[1]: expected an object, got a string"),
        (
            json!({"content": "hi"}),
            "messages[1].role",
            "missing messages[1].role: expected system, developer, user, assistant or tool",
        ),
        (
            json!({"role": "robot", "content": ""}),
            "messages[1].role",
            "invalid messages[1].role: expected system, developer, user, assistant or tool, got \"robot\"",
        ),
        (
            json!({"role": "user"}),
            "messages[1].content",
            "missing messages[1].content: expected a string or an array of parts",
        ),
        (
            json!({"role": "user", "content": 5}),
            "messages[1].content",
            "invalid messages[1].content: expected a string or an array of parts, got a number",
        ),
        (
            json!({"role": "user", "content": [{"text": "x"}]}),
            "messages[1].content[0].type",
            "missing messages[1].content[0].type: expected the type of the part",
        ),
        (
            json!({"role": "user", "content": [{"type": "text"}]}),
            "messages[1].content[0].text",
            "missing messages[1].content[0].text: expected a string",
        ),
        (
            json!({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}),
            "messages[1].content[0].type",
            "unsupported messages[1].content[0].type: expected text or image_url, got \"input_audio\"",
        ),
        (
            json!({"role": "user", "content": [{"type": "file", "file": {}}]}),
            "messages[1].content[0].type",
            "unsupported messages[1].content[0].type: expected text or image_url, got \"file\"",
        ),
        (
            json!({"role": "system", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}),
            "messages[1].content[0].type",
            "unsupported messages[1].content[0].type: expected text, got \"image_url\"",
        ),
        (
            json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}),
            "messages[1].content[0].image_url.url",
            "invalid messages[1].content[0].image_url.url: remote image: expected the image itself as data:image/png;base64,…, got a URL",
        ),
        (
            json!({"role": "user", "content": [{"type": "image_url"}]}),
            "messages[1].content[0].image_url",
            "missing messages[1].content[0].image_url: expected an object with a url",
        ),
        (
            json!({"role": "tool", "content": "x"}),
            "messages[1].tool_call_id",
            "missing messages[1].tool_call_id: expected the id of a call",
        ),
        (
            json!({"role": "assistant", "audio": {"id": "x"}}),
            "messages[1].audio",
            "unsupported messages[1].audio: expected no audio, got an earlier answer",
        ),
        (
            json!({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": ""}}]}),
            "messages[1].tool_calls[0].id",
            "missing messages[1].tool_calls[0].id: expected the id of the call",
        ),
        (
            json!({"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {}}}]}),
            "messages[1].tool_calls[0].function.arguments",
            "invalid messages[1].tool_calls[0].function.arguments: expected a string of JSON, got an object",
        ),
        (
            json!({"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {}}]}),
            "messages[1].tool_calls[0].type",
            "unsupported messages[1].tool_calls[0].type: expected function, got \"custom\"",
        ),
    ] {
        let all = json!([{"role": "user", "content": "hi"}, message]);
        assert_eq!(refused(messages(&all)), (param.to_owned(), error.to_owned()), "{message}");
    }
}

#[test]
fn what_is_no_request_is_an_error_of_the_body() {
    for body in
        [&b""[..], b"null", b"[]", b"\"x\"", b"{", b"{\"model\":\"m\"}x", b"\xff", b"{\"a\":\"\xff\"}"]
    {
        let error = ChatCompletionRequest::decode(body).unwrap_err();
        assert!(error.message.starts_with("invalid body: expected a JSON object, got "), "{}", error.message);
        assert_eq!((error.param, error.code), (None, "invalid_json"));
    }
    let marked = "\u{feff}{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    assert!(ChatCompletionRequest::decode(marked.as_bytes()).is_ok());
}

#[test]
fn a_field_that_some_servers_take_for_another_is_refused() {
    for (fields, param, message) in [
        (json!({"MODEL": "dear"}), "MODEL", "unknown MODEL: expected model"),
        (json!({"Messages": []}), "Messages", "unknown Messages: expected messages"),
        (
            json!({"max_to\u{212a}ens": 9}),
            "max_to\u{212a}ens",
            "unknown max_to\u{212a}ens: expected max_tokens",
        ),
        (json!({"\u{17f}top": 9}), "\u{17f}top", "unknown \u{17f}top: expected stop"),
        (
            json!({"messages": [{"role": "user", "content": "a", "Content": "much more"}]}),
            "messages[0].Content",
            "unknown messages[0].Content: expected content",
        ),
    ] {
        assert_eq!(refused(with(fields)), (param.to_owned(), message.to_owned()));
    }
    assert!(with(json!({"topK": 4, "X": {"Content": 1}, "": 1, "é": 2})).is_ok());
}

#[test]
fn deep_nesting_is_refused_wherever_it_is() {
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    let deep = format!("{open}{close}");
    for body in [
        format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],"x":{deep}}}"#),
        format!(r#"{{"model":"m","messages":{deep}}}"#),
        format!(r#"{{"model":"m","messages":[{{"role":"user","content":{deep}}}]}}"#),
        format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],"tools":[{{"function":{{"name":"f","parameters":{{"a":{deep}}}}}}}]}}"#
        ),
        open,
    ] {
        assert!(ChatCompletionRequest::decode(body.as_bytes()).is_err());
    }
}

#[test]
fn an_error_repeats_little_of_the_request() {
    let error = with(json!({"reasoning_effort": "é".repeat(100_000)})).unwrap_err();
    assert!(error.message.len() < 300, "{}", error.message);
}

proptest! {
    #[test]
    fn no_bytes_break_the_decoder(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ChatCompletionRequest::decode(&body);
    }

    /// Any value in any place is read or refused, and a refusal names the field.
    #[test]
    fn no_value_breaks_the_decoder(place in 0..FIELDS.len(), value in 0..VALUES.len(), depth in 0..4_usize) {
        let field = FIELDS[place];
        let mut value: Value = serde_json::from_str(VALUES[value]).unwrap();
        for _ in 0..depth {
            value = json!([{"type": "function", "function": value, "text": value, "role": "assistant", "content": value}]);
        }
        if let Err(error) = with(json!({field: value})) {
            prop_assert!(error.param.unwrap().starts_with(field));
        }
    }
}

const FIELDS: [&str; 16] = [
    "model",
    "messages",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "n",
    "stream",
    "stream_options",
    "modalities",
];

const VALUES: [&str; 9] =
    ["null", "true", "0", "-1.5e300", "\"\"", "\"a\"", "[]", "{}", "{\"type\":\"json_schema\",\"name\":[]}"];
