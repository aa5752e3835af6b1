//! Whole answers.

use crate::{json, stop_reason, usage};
use tithe_chat::{Charge, Part, Reasoning, Reply, ToolCall};
use tithe_pricing::Usage;

/// Appends the body of the answer to `POST /v1/messages`.
///
/// `id` begins with `msg_`; `model` is the name that the client asked for. Arguments of calls that are no JSON object become
/// `{"raw":"…"}`.
pub fn encode_reply(
    out: &mut Vec<u8>,
    id: &str,
    model: &str,
    reply: &Reply,
    usage: &Usage,
    charge: Option<&Charge>,
) {
    out.extend_from_slice(b"{\"id\":");
    json::string(out, id);
    out.extend_from_slice(b",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
    json::string(out, model);
    out.extend_from_slice(b",\"content\":[");
    let mut is_first = true;
    for part in &reply.parts {
        // An answer has neither images nor results of functions.
        if matches!(part, Part::Image(_) | Part::ToolResult(_)) {
            continue;
        }
        json::comma(out, &mut is_first);
        block(out, part);
    }
    let calls_tools = reply.tool_calls().next().is_some();
    out.extend_from_slice(b"],\"stop_reason\":");
    json::string(out, stop_reason::name(reply.finish, calls_tools));
    out.extend_from_slice(b",\"stop_sequence\":null,\"usage\":");
    usage::encode(out, usage, charge);
    out.push(b'}');
}

/// Appends the body of the answer to `POST /v1/messages/count_tokens`.
pub fn encode_token_count(out: &mut Vec<u8>, input_tokens: u64) {
    out.extend_from_slice(b"{\"input_tokens\":");
    json::number(out, input_tokens);
    out.push(b'}');
}

fn block(out: &mut Vec<u8>, part: &Part) {
    match part {
        Part::Text(content) => text(out, content),
        Part::Reasoning(reasoning) => self::reasoning(out, reasoning),
        Part::ToolCall(call) => tool_use(out, call),
        Part::Image(_) | Part::ToolResult(_) => {}
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"{\"type\":\"text\",\"text\":");
    json::string(out, text);
    out.push(b'}');
}

fn reasoning(out: &mut Vec<u8>, reasoning: &Reasoning) {
    let signature = reasoning.signature.as_deref().unwrap_or_default();
    if reasoning.is_redacted {
        redacted_thinking(out, signature);
        return;
    }
    out.extend_from_slice(b"{\"type\":\"thinking\",\"thinking\":");
    json::string(out, &reasoning.text);
    out.extend_from_slice(b",\"signature\":");
    json::string(out, signature);
    out.push(b'}');
}

fn redacted_thinking(out: &mut Vec<u8>, data: &str) {
    out.extend_from_slice(b"{\"type\":\"redacted_thinking\",\"data\":");
    json::string(out, data);
    out.push(b'}');
}

fn tool_use(out: &mut Vec<u8>, call: &ToolCall) {
    out.extend_from_slice(b"{\"type\":\"tool_use\",\"id\":");
    json::string(out, &call.id);
    out.extend_from_slice(b",\"name\":");
    json::string(out, &call.name);
    out.extend_from_slice(b",\"input\":");
    json::arguments(out, &call.arguments);
    out.push(b'}');
}
