//! What Codex sends to a provider of its user's choice, as its source says (versions of 2026), is understood.

#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails; the exemption for tests does not reach their helpers"
)]

use tithe_chat::{Effort, Part, Reasoning, Role, ToolChoice};
use tithe_openai_responses::ResponsesRequest;

fn decoded(body: &str) -> ResponsesRequest {
    ResponsesRequest::decode(body.as_bytes()).unwrap()
}

/// The messages, one a line.
fn said(request: &ResponsesRequest) -> Vec<String> {
    fn shown(part: &Part) -> String {
        match part {
            Part::Text(text) => text.clone(),
            Part::Image(image) => format!("<{} {:?}>", image.kind, image.detail),
            Part::Reasoning(Reasoning { text, signature, is_redacted }) => {
                format!("<reasoning {text:?} {signature:?} {is_redacted}>")
            }
            Part::ToolCall(call) => format!("<{} {} {}>", call.id, call.name, call.arguments),
            Part::ToolResult(result) => {
                let parts: Vec<String> = result.parts.iter().map(shown).collect();
                format!("<of {} {} {:?}>", result.call, if result.is_error { "failed" } else { "ok" }, parts)
            }
        }
    }
    let line = |message: &tithe_chat::Message| {
        let role = match message.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        format!("{role}: {}", message.parts.iter().map(shown).collect::<Vec<_>>().join(" | "))
    };
    request.chat.messages.iter().map(line).collect()
}

fn offered(request: &ResponsesRequest) -> Vec<&str> {
    request.chat.tools.iter().map(|tool| tool.name.as_str()).collect()
}

#[test]
fn the_first_turn_is_read() {
    let request = decoded(include_str!("requests/codex_first_turn.json"));
    assert_eq!(request.model, "some/model");
    assert!(request.stream);
    assert_eq!(request.chat.effort, Some(Effort::Max));
    assert_eq!(request.chat.parallel_tool_calls, Some(true));
    assert_eq!(request.chat.tool_choice, ToolChoice::Auto);
    assert_eq!(
        said(&request),
        [
            "system: You are a coding agent running in the Codex CLI.\nBe precise.",
            "system: <permissions instructions>read-only</permissions instructions>",
            "user: <environment_context><cwd>/src</cwd></environment_context> | List the files.",
        ]
    );
}

#[test]
fn tools_that_the_client_runs_are_offered_and_hosted_ones_that_codex_always_sends_are_left_out() {
    let request = decoded(include_str!("requests/codex_first_turn.json"));
    assert_eq!(
        offered(&request),
        ["shell", "apply_patch", "mcp__files__read", "collaboration__wait_agent", "tool_search"]
    );
    let patch = &request.chat.tools[1];
    let description = patch.description.as_deref().unwrap();
    assert!(description.ends_with("must match this grammar (lark):\nstart: begin_patch hunk+ end_patch"));
    assert_eq!(
        patch.parameters.as_ref().unwrap().get(),
        r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}"#
    );
}

#[test]
fn a_later_turn_is_read() {
    let request = decoded(include_str!("requests/codex_later_turn.json"));
    assert_eq!(
        said(&request),
        [
            "system: You are a coding agent.",
            "user: Add a line.",
            concat!(
                "assistant: <reasoning \"I must look first.\" Some(\"c2lnbmF0dXJl\") false>",
                " | <reasoning \"\" Some(\"aGlkZGVu\") true>",
                " | Let me see.",
                " | <call_1 shell {\"command\":[\"ls\"]}>",
                " | <call_2 mcp__files__read {}>",
            ),
            "user: <of call_1 ok [\"a.txt\\n\"]> | <of call_2 ok [\"a picture:\", \"<image/png Some(\\\"high\\\")>\"]>",
            "assistant: <call_3 apply_patch {\"input\":\"*** Begin Patch\\n+\\\"x\\\"\\n*** End Patch\"}>",
            "user: <of call_3 ok [\"Success.\"]> | <of call_4 failed [\"exit code 1\"]>",
            "assistant: <call_5 tool_search { \"query\": \"mail\" }>",
            "user: <of call_5 ok [\"Tools that can be called from now on: mcp__mail__send\"]>",
            "user: Go on.",
        ]
    );
}

#[test]
fn tools_that_the_client_has_found_are_offered() {
    let request = decoded(include_str!("requests/codex_later_turn.json"));
    assert_eq!(offered(&request), ["apply_patch", "mcp__files__read", "mcp__mail__send"]);
}

#[test]
fn tools_may_come_as_an_item_of_the_input() {
    let request = decoded(include_str!("requests/codex_lite.json"));
    assert_eq!(offered(&request), ["functions__exec", "functions__wait"]);
    assert_eq!(
        said(&request),
        [
            "system: You are a coding agent.",
            "user: Look at a.txt.",
            "assistant: <call_1 functions__exec {\"input\":\"text(1)\"}>",
            "user: <of call_1 ok [\"1\"]>",
        ]
    );
}

#[test]
fn the_request_is_kept_as_it_was_sent() {
    let request = decoded(include_str!("requests/codex_first_turn.json"));
    let original = request.chat.original.unwrap();
    assert_eq!(original.field("client_metadata").unwrap().get(), r#"{ "x-codex-installation-id": "1" }"#);
    let names: Vec<&str> = original.body.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..3], ["model", "instructions", "input"]);
}
