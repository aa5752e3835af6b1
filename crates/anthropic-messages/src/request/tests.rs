use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use tithe_chat::{Effort, Part, ReplyFormat, Role, ToolChoice};

const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

fn decode(body: &Value) -> Result<MessagesRequest, RequestError> {
    MessagesRequest::decode(body.to_string().as_bytes(), Vec::new())
}

/// A request with these fields beside the required ones, which they replace.
fn with(fields: &Value) -> Result<MessagesRequest, RequestError> {
    let mut body = json!({"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": "hi"}]});
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    decode(&body)
}

fn with_content(role: &str, content: &Value) -> Result<MessagesRequest, RequestError> {
    with(&json!({"messages": [{"role": role, "content": content}]}))
}

fn parts(role: &str, content: &Value) -> Vec<Part> {
    with_content(role, content).unwrap().chat.messages.remove(0).parts
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

#[test]
fn a_request_of_claude_code_is_read_and_kept() {
    let body = br#"{
        "model": "claude-sonnet-5",
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "<system-reminder>today</system-reminder>"},
                {"type": "text", "text": "fix it", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "let me look", "signature": "EuYB"},
                {"type": "redacted_thinking", "data": "Emwk"},
                {"type": "text", "text": "I'll look."},
                {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"file_path": "/a.rs"}}
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": true, "content": "no such file",
                 "cache_control": {"type": "ephemeral"}}
            ]}
        ],
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1"},
            {"type": "text", "text": "You are Claude Code.", "cache_control": {"type": "ephemeral"}}
        ],
        "tools": [{"name": "Read", "description": "Reads.", "input_schema": {"type": "object"}, "eager_input_streaming": true}],
        "metadata": {"user_id": "user_1"},
        "max_tokens": 32000,
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "medium"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "some_new_field": [1, 2],
        "stream": true
    }"#;
    let headers = vec![("anthropic-beta".to_owned(), "interleaved-thinking-2025-05-14".to_owned())];
    let request = MessagesRequest::decode(body, headers.clone()).unwrap();
    let chat = &request.chat;
    assert_eq!((request.model.as_str(), request.stream), ("claude-sonnet-5", true));
    assert_eq!(chat.max_output_tokens, Some(32_000));
    assert_eq!(chat.effort, Some(Effort::Medium));
    let roles: Vec<Role> = chat.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::User]);
    assert_eq!(chat.messages[0].parts[1], text("You are Claude Code."));
    let Part::Reasoning(thinking) = &chat.messages[2].parts[0] else { panic!("no thinking") };
    assert_eq!((thinking.text.as_str(), thinking.signature.as_deref()), ("let me look", Some("EuYB")));
    assert!(matches!(&chat.messages[2].parts[1], Part::Reasoning(it) if it.is_redacted));
    let Part::ToolCall(call) = &chat.messages[2].parts[3] else { panic!("no call") };
    assert_eq!(call.arguments, "{\"file_path\": \"/a.rs\"}");
    let Part::ToolResult(result) = &chat.messages[3].parts[0] else { panic!("no result") };
    assert_eq!((result.call.as_str(), result.is_error), ("toolu_1", true));
    assert_eq!(result.parts, [text("no such file")]);
    assert_eq!(chat.tools[0].name, "Read");

    let original = chat.original.as_ref().unwrap();
    assert_eq!(original.headers, headers);
    assert_eq!(original.body.len(), 11);
    assert_eq!(original.body[0].0, "model");
    assert_eq!(original.field("some_new_field").unwrap().get(), "[1, 2]");
    assert!(original.field("system").unwrap().get().contains("\"cache_control\": {\"type\": \"ephemeral\"}"));
}

#[test]
fn errors_name_the_field() {
    for (fields, expected) in [
        (json!({"max_tokens": null}), "max_tokens: Field required"),
        (json!({"model": null}), "model: Field required"),
        (json!({"model": ""}), "model: expected the name of a model, got \"\""),
        (json!({"messages": null}), "messages: Field required"),
        (json!({"messages": []}), "messages: at least one message is required"),
        (json!({"messages": "hi"}), "messages: expected an array of messages, got \"hi\""),
        (json!({"max_tokens": 0}), "max_tokens: expected a whole number of at least 1, got 0"),
        (json!({"max_tokens": -1}), "max_tokens: expected a whole number of at least 1, got -1"),
        (json!({"max_tokens": "9"}), "max_tokens: expected a whole number of at least 1, got \"9\""),
        (json!({"temperature": 2}), "temperature: expected a number from 0 to 1, got 2"),
        (json!({"stream": "yes"}), "stream: expected a boolean, got \"yes\""),
        (json!({"stop_sequences": "a"}), "stop_sequences: expected an array of strings, got \"a\""),
        (json!({"tools": [{"name": "f"}]}), "tools.0.input_schema: Field required"),
        (json!({"tools": [{"input_schema": {}}]}), "tools.0.name: Field required"),
        (
            json!({"tools": [{"name": "f", "input_schema": []}]}),
            "tools.0.input_schema: expected a JSON schema, got []",
        ),
        (json!({"tool_choice": {"type": "tool"}}), "tool_choice.name: Field required"),
        (json!({"messages": [{"role": "user"}]}), "messages.0.content: Field required"),
        (
            json!({"messages": [{"role": "tool", "content": ""}]}),
            "messages.0.role: expected \"user\", \"assistant\" or \"system\", got \"tool\"",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"text": "x"}]}]}),
            "messages.0.content.0.type: Field required",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "text"}]}]}),
            "messages.0.content.0.text: Field required",
        ),
        (
            json!({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "b", "input": "{}"}]}]}),
            "messages.0.content.0.input: expected an object, got \"{}\"",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "thinking", "thinking": "x"}]}]}),
            "messages.0.content.0.type: unexpected block: got \"thinking\" where it cannot be",
        ),
        (
            json!({"output_config": {"format": {"type": "json_schema"}}}),
            "output_config.format.schema: Field required",
        ),
    ] {
        assert_eq!(with(&fields).unwrap_err().to_string(), expected);
    }
    assert_eq!(MessagesRequest::decode(b"[]", Vec::new()).unwrap_err().code, "invalid_json");
    assert_eq!(MessagesRequest::decode(b"", Vec::new()).unwrap_err().param, None);
}

#[test]
fn only_what_cannot_be_priced_is_refused() {
    for (fields, param) in [
        (json!({"mcp_servers": [{"type": "url", "url": "https://example.com"}]}), "mcp_servers"),
        (json!({"container": "container_1"}), "container"),
        (json!({"speed": "fast"}), "speed"),
        (json!({"inference_geo": "us"}), "inference_geo"),
        (json!({"fallbacks": [{"model": "x"}]}), "fallbacks"),
        (
            json!({"context_management": {"edits": [{"type": "compact_20260112"}]}}),
            "context_management.edits.0",
        ),
        (json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}), "tools.0.type"),
        (json!({"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}), "tools.0.type"),
        (json!({"tools": [{"type": "mcp_toolset", "mcp_server_name": "a"}]}), "tools.0.type"),
    ] {
        let error = with(&fields).unwrap_err();
        assert_eq!((error.param.as_deref(), error.code), (Some(param), "unsupported"), "{fields}");
    }
    let source = |kind: &str| json!({"type": kind, "url": "https://example.com/a.png", "file_id": "file_1", "data": "JVBERi0="});
    for (role, block, param) in [
        ("user", json!({"type": "image", "source": source("url")}), "messages.0.content.0.source"),
        ("user", json!({"type": "image", "source": source("file")}), "messages.0.content.0.source"),
        ("user", json!({"type": "document", "source": source("base64")}), "messages.0.content.0.source"),
        ("user", json!({"type": "document", "source": source("url")}), "messages.0.content.0.source"),
        ("user", json!({"type": "container_upload", "file_id": "f"}), "messages.0.content.0"),
        (
            "assistant",
            json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
            "messages.0.content.0",
        ),
        (
            "assistant",
            json!({"type": "web_search_tool_result", "tool_use_id": "s", "content": []}),
            "messages.0.content.0",
        ),
        ("assistant", json!({"type": "mcp_tool_use", "id": "s"}), "messages.0.content.0"),
        (
            "system",
            json!({"type": "tool_addition", "tool": {"type": "tool_definition"}}),
            "messages.0.content.0.tool",
        ),
    ] {
        let error = with_content(role, &json!([block])).unwrap_err();
        assert_eq!((error.param.as_deref(), error.code), (Some(param), "unsupported"), "{block}");
    }
    for fields in [
        json!({"mcp_servers": []}),
        json!({"container": null}),
        json!({"speed": "standard"}),
        json!({"inference_geo": "global"}),
        json!({"service_tier": "auto"}),
        json!({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}),
        json!({"metadata": 5, "diagnostics": {"a": 1}, "top_k": 5, "cache_control": {"type": "ephemeral"}}),
        json!({"output_config": {"effort": "unheard of", "x": 1}}),
        json!({"thinking": {"type": "between_tools"}}),
    ] {
        assert!(with(&fields).is_ok(), "{fields}");
    }
}

#[test]
fn images_are_taken_as_base64_and_checked() {
    let image = |media_type: &str, data: &str| json!([{"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}]);
    let content = image("image/png", PNG);
    assert!(matches!(&parts("user", &content)[0], Part::Image(image) if image.base64 == PNG));
    for (content, param) in [
        (image("image/bmp", PNG), "messages.0.content.0.source.media_type"),
        (image("image/jpeg", PNG), "messages.0.content.0.source.data"),
        (image("image/png", "%%"), "messages.0.content.0.source.data"),
    ] {
        assert_eq!(with_content("user", &content).unwrap_err().param.as_deref(), Some(param));
    }
    let result = json!([{"type": "tool_result", "tool_use_id": "t", "content": content}]);
    assert!(
        matches!(&parts("user", &result)[0], Part::ToolResult(it) if matches!(it.parts[0], Part::Image(_)))
    );
}

#[test]
fn documents_and_search_results_are_texts() {
    let content = json!([
        {"type": "document", "title": "T", "context": "C",
         "source": {"type": "text", "media_type": "text/plain", "data": "D"}},
        {"type": "document", "source": {"type": "content", "content": "E"}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "F"}]}},
        {"type": "search_result", "title": "S", "source": "https://example.com",
         "content": [{"type": "text", "text": "G"}], "citations": {"enabled": true}},
    ]);
    let expected = ["T\nC", "D", "E", "F", "S\nhttps://example.com", "G"].map(text);
    assert_eq!(parts("user", &content), expected);
}

#[test]
fn an_answer_may_have_documents_as_api_version_2023_06_01_allows() {
    let content = json!([{"type": "document", "source": {"type": "text", "data": "D"}}]);
    assert_eq!(parts("assistant", &content), [text("D")]);
}

#[test]
fn blocks_of_the_future_are_priced_as_the_text_that_they_are() {
    let block = json!({"type": "hologram", "content": {"a": 1}, "text": 7});
    assert_eq!(parts("user", &json!([block])), [text(&block.to_string())]);
}

#[test]
fn system_messages_may_stand_among_the_others() {
    let request = with(&json!({
        "system": "first",
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "system", "content": [{"type": "text", "text": "b"}, {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "f"}}]},
            {"role": "system", "output_config": {"effort": "low"}},
        ],
    }));
    let messages = request.unwrap().chat.messages;
    let roles: Vec<Role> = messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::System, Role::System]);
    assert_eq!(messages[2].parts, [text("b")]);
    assert!(with(&json!({"system": ""})).unwrap().chat.messages[0].role == Role::User);
}

#[test]
fn tool_choices_are_read() {
    for (choice, expected, parallel) in [
        (json!({"type": "auto"}), ToolChoice::Auto, None),
        (json!({"type": "auto", "disable_parallel_tool_use": true}), ToolChoice::Auto, Some(false)),
        (json!({"type": "any", "disable_parallel_tool_use": false}), ToolChoice::Required, Some(true)),
        (json!({"type": "none"}), ToolChoice::None, None),
        (json!({"type": "tool", "name": "f"}), ToolChoice::Named("f".to_owned()), None),
    ] {
        let chat = with(&json!({"tool_choice": choice})).unwrap().chat;
        assert_eq!((chat.tool_choice, chat.parallel_tool_calls), (expected, parallel));
    }
}

#[test]
fn tools_that_anthropic_defines_are_told_apart() {
    let tools = json!([
        {"type": "custom", "name": "f", "input_schema": {"type": "object"}, "strict": true},
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 9},
        {"type": "computer_toolset_20260801"},
    ]);
    let request = with(&json!({"tools": tools})).unwrap();
    assert_eq!(
        request.anthropic_tools,
        ["bash_20250124", "text_editor_20250728", "computer_toolset_20260801"]
    );
    let names: Vec<&str> = request.chat.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["f", "bash", "str_replace_based_edit_tool", "computer_toolset_20260801"]);
}

#[test]
fn effort_is_read_from_both_fields() {
    for (fields, expected) in [
        (json!({}), None),
        (json!({"thinking": {"type": "adaptive"}}), None),
        (json!({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}), Some(Effort::None)),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}), Some(Effort::Low)),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 10000}}), Some(Effort::Medium)),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 31999}}), Some(Effort::High)),
        (json!({"output_config": {"effort": "low"}}), Some(Effort::Low)),
        (json!({"output_config": {"effort": "xhigh"}}), Some(Effort::Max)),
        (json!({"output_config": {"effort": "max"}}), Some(Effort::Max)),
    ] {
        assert_eq!(with(&fields).unwrap().chat.effort, expected, "{fields}");
    }
}

#[test]
fn a_schema_is_read_under_its_new_and_its_old_name() {
    let format = json!({"type": "json_schema", "schema": {"type": "object"}});
    for fields in [json!({"output_config": {"format": format}}), json!({"output_format": format})] {
        let chat = with(&fields).unwrap().chat;
        let ReplyFormat::Schema(schema) = chat.format else { panic!("no schema") };
        assert_eq!((schema.schema.get(), schema.strict), ("{\"type\":\"object\"}", Some(true)));
    }
}

#[test]
fn of_fields_that_occur_twice_the_last_one_counts() {
    let body = br#"{"model":"a","max_tokens":1,"messages":[{"role":"user","content":"x"}],"model":"b","max_tokens":2}"#;
    let request = MessagesRequest::decode(body, Vec::new()).unwrap();
    assert_eq!((request.model.as_str(), request.chat.max_output_tokens), ("b", Some(2)));
    assert_eq!(request.chat.original.unwrap().body.len(), 3);
    // Within a message, they are refused: a backend could read another one than was priced.
    let body = br#"{"model":"a","max_tokens":1,"messages":[{"role":"user","content":"x","content":"y"}]}"#;
    assert!(MessagesRequest::decode(body, Vec::new()).is_err());
}

#[test]
fn tokens_are_counted_without_a_limit() {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "system": "s"});
    let request = CountTokensRequest::decode(body.to_string().as_bytes(), Vec::new()).unwrap();
    assert_eq!((request.chat.messages.len(), request.chat.max_output_tokens), (2, None));
}

/// Any JSON, of the names and values that this API knows.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "text",
        "user",
        "assistant",
        "system",
        "image",
        "tool_use",
        "tool_result",
        "document",
        "base64",
        "thinking",
        "auto",
        "custom",
        "json_schema",
        "enabled",
        "",
    ]);
    let name = prop::sample::select(vec![
        "type",
        "text",
        "role",
        "content",
        "source",
        "data",
        "input",
        "id",
        "name",
        "tool",
        "media_type",
        "title",
        "schema",
        "format",
        "effort",
        "budget_tokens",
        "edits",
        "input_schema",
        "tool_use_id",
        "is_error",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..5).prop_map(|fields| fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        _ = MessagesRequest::decode(&body, Vec::new());
        _ = CountTokensRequest::decode(&body, Vec::new());
    }

    #[test]
    fn no_json_makes_the_decoder_panic(
        field in prop::sample::select(vec![
            "messages", "system", "tools", "tool_choice", "thinking", "output_config", "output_format", "stop_sequences",
            "context_management", "max_tokens", "model", "stream", "container", "metadata",
        ]),
        value in any_json(),
        in_message in any::<bool>(),
    ) {
        let decoded = if in_message { with_content("user", &value) } else { with(&json!({field: value})) };
        if let Err(error) = decoded {
            prop_assert!(error.param.is_some(), "{error}");
        }
    }
}

#[test]
fn deep_nesting_is_an_error_at_most() {
    let deep = "[".repeat(100_000);
    let body = format!(r#"{{"model":"m","max_tokens":1,"messages":{deep}"#);
    assert!(MessagesRequest::decode(body.as_bytes(), Vec::new()).is_err());
    let content = format!("{deep}{}", "]".repeat(100_000));
    let body =
        format!(r#"{{"model":"m","max_tokens":1,"messages":[{{"role":"user","content":{content}}}]}}"#);
    assert!(MessagesRequest::decode(body.as_bytes(), Vec::new()).is_err());
}
