//! Requests: what is read, and what is refused.

#![expect(
    clippy::expect_used,
    clippy::needless_pass_by_value,
    reason = "a panic is how a test fails; the exemption for tests does not reach their helpers"
)]

use proptest::prelude::*;
use serde_json::{Value, json};
use tithe_chat::{Effort, Message, Part, ReplyFormat, Role, ToolChoice};
use tithe_openai_responses::{RequestError, ResponsesRequest};

fn decode(body: &Value) -> Result<ResponsesRequest, RequestError> {
    ResponsesRequest::decode(body.to_string().as_bytes())
}

/// A request with more fields.
fn with(more: Value) -> Value {
    let mut body = json!({"model": "m", "input": "Hello!"});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body
}

fn input(input: Value) -> Value {
    with(json!({ "input": input }))
}

fn refused(body: &Value) -> RequestError {
    let error = decode(body).expect_err(&body.to_string());
    assert!(error.message.contains("expected"), "{error}");
    if let Some(param) = &error.param {
        assert!(error.message.contains(param.as_str()), "{error} does not name {param}");
    }
    error
}

fn function(name: &str) -> Value {
    json!({"type": "function", "name": name, "parameters": {"type": "object"}})
}

#[test]
fn the_least_is_a_model_and_a_text() {
    let request = decode(&json!({"model": "a/b:c", "input": "Hello!"})).unwrap();
    assert_eq!(request.model, "a/b:c");
    assert!(!request.stream);
    assert_eq!(request.chat.messages, [Message::text(Role::User, "Hello!")]);
    assert_eq!(request.chat.max_output_tokens, None);
    assert!(request.chat.tools.is_empty());
}

#[test]
fn an_item_without_a_type_is_a_message() {
    let request = decode(&input(json!([
        {"role": "system", "content": "a"},
        {"role": "developer", "content": [{"type": "input_text", "text": "b"}]},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "d", "annotations": []}, {"type": "refusal", "refusal": "e"}]},
        {"role": "user", "content": [{"type": "input_text", "text": ""}]},
    ])))
    .unwrap();
    let said: Vec<(Role, usize)> =
        request.chat.messages.iter().map(|message| (message.role, message.parts.len())).collect();
    assert_eq!(said, [(Role::System, 1), (Role::System, 1), (Role::User, 1), (Role::Assistant, 2)]);
}

#[test]
fn unknown_fields_and_null_are_no_errors() {
    decode(&with(json!({
        "store": true, "truncation": "auto", "service_tier": "flex", "prompt_cache_key": "k", "metadata": null,
        "top_logprobs": 3, "include": ["message.output_text.logprobs"], "stream_options": {"include_obfuscation": false},
        "invented": {"a": [1]}, "previous_response_id": null, "conversation": null, "prompt": null, "background": false,
        "instructions": null, "tools": null, "tool_choice": null, "temperature": null, "max_output_tokens": null,
        "reasoning": null, "text": null, "stream": null, "parallel_tool_calls": null, "user": null,
    })))
    .unwrap();
}

#[test]
fn the_last_of_duplicate_fields_counts() {
    let request = ResponsesRequest::decode(br#"{"model":"a","input":"x","model":"b"}"#).unwrap();
    assert_eq!(request.model, "b");
    assert_eq!(request.chat.original.unwrap().body.len(), 2);
}

#[test]
fn limits_and_sampling_are_read() {
    let request = decode(&with(json!({
        "max_output_tokens": 1, "temperature": 0.5, "top_p": 1, "reasoning": {"effort": "minimal", "summary": "auto"},
        "parallel_tool_calls": false, "stream": true,
    })))
    .unwrap();
    assert_eq!(request.chat.max_output_tokens, Some(1));
    assert_eq!(request.chat.sampling.temperature, Some(0.5));
    assert_eq!(request.chat.sampling.top_p, Some(1.0));
    assert_eq!(request.chat.effort, Some(Effort::Minimal));
    assert_eq!(request.chat.parallel_tool_calls, Some(false));
    assert!(request.stream);
    let unknown = decode(&with(json!({"reasoning": {"effort": "beyond"}}))).unwrap();
    assert_eq!(unknown.chat.effort, None);
}

#[test]
fn formats_are_read() {
    let format = |format: Value| decode(&with(json!({"text": {"format": format}}))).map(|it| it.chat.format);
    assert!(matches!(format(json!({"type": "text"})), Ok(ReplyFormat::Text)));
    assert!(matches!(format(json!({"type": "json_object"})), Ok(ReplyFormat::Json)));
    let schema =
        format(json!({"type": "json_schema", "name": "n", "strict": true, "schema": {"type": "object"}}));
    let Ok(ReplyFormat::Schema(schema)) = schema else { panic!("{schema:?}") };
    assert_eq!((schema.name.as_str(), schema.strict), ("n", Some(true)));
    assert_eq!(schema.schema.get(), r#"{"type":"object"}"#);
    for bad in [
        json!({"type": "grammar"}),
        json!({"type": "json_schema", "name": "n", "schema": "x"}),
        json!({"type": "json_schema", "schema": {}}),
        json!({"type": "json_schema", "name": "n"}),
        json!("text"),
        json!({}),
    ] {
        refused(&with(json!({"text": {"format": bad}})));
    }
}

#[test]
fn what_needs_stored_state_is_refused() {
    for (field, value, code) in [
        ("previous_response_id", json!("resp_1"), "unsupported_parameter"),
        ("conversation", json!("conv_1"), "unsupported_parameter"),
        ("conversation", json!({"id": "conv_1"}), "unsupported_parameter"),
        ("prompt", json!({"id": "pmpt_1"}), "unsupported_parameter"),
        ("background", json!(true), "unsupported_value"),
    ] {
        let error = refused(&with(json!({ field: value })));
        assert_eq!((error.param.as_deref(), error.code), (Some(field), code));
    }
    let error = refused(&input(json!([{"type": "item_reference", "id": "msg_1"}])));
    assert_eq!(error.param.as_deref(), Some("input[0].type"));
}

#[test]
fn bad_values_are_named() {
    for (field, value, code) in [
        ("model", json!(7), "invalid_type"),
        ("model", json!(""), "invalid_value"),
        ("model", json!(null), "invalid_type"),
        ("input", json!(7), "invalid_type"),
        ("input", json!(""), "invalid_value"),
        ("input", json!([]), "invalid_value"),
        ("input", json!(null), "missing_required_parameter"),
        ("instructions", json!(["x"]), "invalid_type"),
        ("stream", json!("true"), "invalid_type"),
        ("max_output_tokens", json!(0), "invalid_value"),
        ("max_output_tokens", json!(-1), "invalid_value"),
        ("max_output_tokens", json!(1.5), "invalid_value"),
        ("max_output_tokens", json!("9"), "invalid_type"),
        ("temperature", json!(2.5), "invalid_value"),
        ("temperature", json!("1"), "invalid_type"),
        ("top_p", json!(-0.1), "invalid_value"),
        ("reasoning", json!("high"), "invalid_type"),
        ("tools", json!({}), "invalid_type"),
        ("tool_choice", json!("perhaps"), "invalid_value"),
        ("tool_choice", json!(1), "invalid_type"),
    ] {
        let error = refused(&with(json!({ field: value })));
        assert_eq!((error.param.as_deref(), error.code), (Some(field), code), "{error}");
    }
    assert_eq!(refused(&json!({"input": "x"})).code, "missing_required_parameter");
    for body in ["", "null", "[]", "{", "\"x\"", "{\"model\":}", "\u{feff}{}"] {
        let error = ResponsesRequest::decode(body.as_bytes()).unwrap_err();
        assert_eq!((error.param, error.code), (None, "invalid_json"));
    }
}

#[test]
fn bad_items_are_named() {
    for (item, param) in [
        (json!(7), "input[0]"),
        (json!({}), "input[0].type"),
        (json!({"type": 1}), "input[0].type"),
        (json!({"role": "critic", "content": "x"}), "input[0].role"),
        (json!({"type": "message", "content": "x"}), "input[0].role"),
        (json!({"role": "user"}), "input[0].content"),
        (json!({"role": "user", "content": {}}), "input[0].content"),
        (json!({"role": "user", "content": ["x"]}), "input[0].content[0]"),
        (json!({"role": "user", "content": [{"type": "input_text"}]}), "input[0].content[0].text"),
        (json!({"role": "user", "content": [{"text": "x"}]}), "input[0].content[0].type"),
        (json!({"role": "user", "content": [{"type": "input_audio"}]}), "input[0].content[0].type"),
        (
            json!({"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}),
            "input[0].content[0].type",
        ),
        (json!({"role": "user", "content": [{"type": "input_image"}]}), "input[0].content[0].image_url"),
        (
            json!({"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}),
            "input[0].content[0].file_id",
        ),
        (
            json!({"role": "user", "content": [{"type": "input_image", "image_url": "https://example.com/a.png"}]}),
            "input[0].content[0].image_url",
        ),
        (
            json!({"role": "assistant", "content": [{"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgoA"}]}),
            "input[0].content[0].type",
        ),
        (json!({"type": "function_call", "name": "f", "arguments": "{}"}), "input[0].call_id"),
        (json!({"type": "function_call", "call_id": "c", "arguments": "{}"}), "input[0].name"),
        (
            json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}),
            "input[0].arguments",
        ),
        (json!({"type": "custom_tool_call", "call_id": "c", "name": "f"}), "input[0].input"),
        (json!({"type": "function_call_output", "call_id": "c"}), "input[0].output"),
        (json!({"type": "function_call_output", "call_id": "c", "output": 7}), "input[0].output"),
        (json!({"type": "function_call_output", "output": "x"}), "input[0].call_id"),
        (json!({"type": "reasoning", "summary": "x"}), "input[0].summary"),
        (json!({"type": "local_shell_call_output", "output": "x"}), "input[0].type"),
        (json!({"type": "computer_call_output", "output": {}}), "input[0].type"),
        (json!({"type": "compaction", "encrypted_content": "x"}), "input[0].type"),
        (json!({"type": "additional_tools", "tools": [{"type": "mcp"}]}), "input[0].tools[0].type"),
    ] {
        assert_eq!(refused(&input(json!([item]))).param.as_deref(), Some(param), "{item}");
    }
}

#[test]
fn tools_that_the_server_would_have_to_run_are_refused_by_name() {
    for kind in [
        "file_search",
        "code_interpreter",
        "computer",
        "computer_use_preview",
        "mcp",
        "shell",
        "local_shell",
        "apply_patch",
        "programmatic_tool_calling",
        "invented",
    ] {
        let error = refused(&with(json!({"tools": [function("f"), {"type": kind}]})));
        assert_eq!(error.param.as_deref(), Some("tools[1].type"));
        assert_eq!(error.code, "unsupported_value");
        assert!(error.message.contains(kind), "{error}");
    }
}

#[test]
fn a_hosted_tool_that_is_left_out_cannot_be_demanded() {
    let search = json!({"type": "web_search_preview"});
    let with_choice = |tools: Value, choice: Value| with(json!({"tools": tools, "tool_choice": choice}));
    assert!(decode(&with_choice(json!([search]), json!("auto"))).unwrap().chat.tools.is_empty());
    decode(&with_choice(json!([search, function("f")]), json!("required"))).unwrap();
    assert_eq!(
        refused(&with_choice(json!([search]), json!("required"))).param.as_deref(),
        Some("tool_choice")
    );
    let error = refused(&with_choice(json!([search]), json!({"type": "web_search_preview"})));
    assert_eq!(error.param.as_deref(), Some("tool_choice.type"));
}

#[test]
fn bad_tools_are_named() {
    for (tool, param) in [
        (json!("f"), "tools[0]"),
        (json!({}), "tools[0].type"),
        (json!({"type": "function"}), "tools[0].name"),
        (json!({"type": "function", "name": ""}), "tools[0].name"),
        (json!({"type": "function", "name": "f", "parameters": []}), "tools[0].parameters"),
        (json!({"type": "function", "name": "f", "strict": "yes"}), "tools[0].strict"),
        (json!({"type": "function", "function": {"name": "f"}}), "tools[0].name"),
        (json!({"type": "namespace", "name": "n"}), "tools[0].tools"),
        (
            json!({"type": "namespace", "name": "n", "tools": [{"type": "namespace"}]}),
            "tools[0].tools[0].type",
        ),
        (json!({"type": "custom"}), "tools[0].name"),
    ] {
        assert_eq!(refused(&with(json!({"tools": [tool]}))).param.as_deref(), Some(param), "{tool}");
    }
    let many: Vec<Value> = (0..1025).map(|number| function(&format!("f{number}"))).collect();
    assert_eq!(refused(&with(json!({ "tools": many }))).param.as_deref(), Some("tools[1024]"));
}

#[test]
fn choices_of_tools_are_read() {
    let tools = json!([
        function("a"), function("b"),
        {"type": "namespace", "name": "n", "tools": [function("a"), {"type": "custom", "name": "c"}]},
    ]);
    let choice = |choice: Value| decode(&with(json!({"tools": tools, "tool_choice": choice})));
    assert_eq!(choice(json!("none")).unwrap().chat.tool_choice, ToolChoice::None);
    assert_eq!(choice(json!("required")).unwrap().chat.tool_choice, ToolChoice::Required);
    let function = choice(json!({"type": "function", "name": "a"})).unwrap();
    assert_eq!(function.chat.tool_choice, ToolChoice::Named("a".into()));
    let custom = choice(json!({"type": "custom", "name": "c", "namespace": "n"})).unwrap();
    assert_eq!(custom.chat.tool_choice, ToolChoice::Named("n__c".into()));
    let allowed = choice(json!({"type": "allowed_tools", "mode": "required", "tools": [
        {"type": "function", "name": "b"}, {"type": "web_search"}, {"type": "function", "name": "a", "namespace": "n"},
    ]}))
    .unwrap();
    assert_eq!(allowed.chat.tool_choice, ToolChoice::Required);
    let names: Vec<&str> = allowed.chat.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["b", "n__a"]);
    let unknown = choice(json!({"type": "function", "name": "z"})).unwrap_err();
    assert_eq!(unknown.param.as_deref(), Some("tool_choice.name"));
}

#[test]
fn names_for_models_are_short_plain_and_distinct() {
    let long = "n".repeat(80);
    let request = decode(&with(json!({"tools": [
        function("a__f"),
        {"type": "namespace", "name": "a", "tools": [function("f"), function("f"), function("ä.b")]},
        {"type": "namespace", "name": long, "tools": [function("f")]},
        {"type": "namespace", "name": format!("{long}n"), "tools": [function("f")]},
    ]})))
    .unwrap();
    let names: Vec<&str> = request.chat.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names[..3], ["a__f", "a__f_2", "a____b"]);
    assert_eq!(names.len(), 5);
    assert_ne!(names[3], names[4]);
    for name in names {
        assert!(name.len() <= 64, "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{name}");
    }
}

#[test]
fn an_image_is_read_from_its_data() {
    let url = "data:image/png;base64,iVBORw0KGgoA";
    let parts = json!([{"type": "input_image", "image_url": url, "detail": "low"}, {"type": "input_image", "image_url": {"url": url}}]);
    let request = decode(&input(json!([{"role": "user", "content": parts}]))).unwrap();
    let details: Vec<Option<&str>> = request.chat.messages[0]
        .parts
        .iter()
        .map(|part| match part {
            Part::Image(image) => image.detail.as_deref(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(details, [Some("low"), None]);
}

#[test]
fn deep_nesting_is_no_danger() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    for body in [
        format!(r#"{{"model":"m","input":{deep}}}"#),
        format!(
            r#"{{"model":"m","input":"x","tools":[{{"type":"function","name":"f","parameters":{deep}}}]}}"#
        ),
        format!(r#"{{"model":"m","input":[{{"role":"user","content":"x","y":{deep}}}]}}"#),
        "[".repeat(200_000),
        "{\"a\":".repeat(200_000),
    ] {
        let _ = ResponsesRequest::decode(body.as_bytes());
    }
}

#[test]
fn tens_of_thousands_of_fields_and_items_are_read() {
    let fields: Vec<String> = (0..50_000).map(|at| format!("\"f{at}\":0")).collect();
    let fields = fields.join(",");
    let items =
        vec![r#"{"type":"function_call","call_id":"c","name":"f","namespace":"n","arguments":"{}"}"#; 50_000];
    let body = format!(r#"{{{fields},"model":"m","input":[{}]}}"#, items.join(","));
    let request = ResponsesRequest::decode(body.as_bytes()).unwrap();
    assert_eq!(request.chat.messages.len(), 1);
    assert_eq!(request.chat.messages[0].parts.len(), 50_000);
}

/// JSON of any kind, made of words that mean something here.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "function",
        "custom",
        "namespace",
        "message",
        "user",
        "assistant",
        "input_text",
        "input_image",
        "auto",
        "allowed_tools",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "reasoning",
        "additional_tools",
        "x",
        "",
    ]);
    let name = prop::sample::select(vec![
        "model",
        "input",
        "type",
        "role",
        "content",
        "text",
        "tools",
        "name",
        "tool_choice",
        "call_id",
        "arguments",
        "output",
        "summary",
        "format",
        "namespace",
        "parameters",
        "reasoning",
        "image_url",
        "encrypted_content",
        "instructions",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word.prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..8).prop_map(|fields| Value::Object(
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ResponsesRequest::decode(&bytes);
    }

    #[test]
    fn no_json_makes_it_panic_and_each_error_says_what_is_expected(body in any_json(), items in any_json(), tools in any_json()) {
        let _ = decode(&body);
        if let Err(error) = decode(&with(json!({"input": [items], "tools": [tools], "text": body}))) {
            prop_assert!(error.message.contains("expected"), "{}", error);
        }
    }

    #[test]
    fn no_cut_of_a_real_request_makes_it_panic(at in 0usize..4000, with in any::<u8>()) {
        let mut bytes = include_bytes!("requests/codex_later_turn.json").to_vec();
        let at = at % bytes.len();
        bytes[at] = with;
        let _ = ResponsesRequest::decode(&bytes);
        let _ = ResponsesRequest::decode(&bytes[..at]);
    }
}
