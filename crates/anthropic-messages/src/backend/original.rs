//! Requests of this API, passed on.

use super::request::BackendRequest;
use super::unsigned;
use crate::json;
use serde::Deserialize;
use serde_json::value::RawValue;
use tithe_chat::{Chat, Original};

/// What the server decides, and what would make the answer cost another price or be paid by somebody else.
const NOT_PASSED_ON: [&str; 7] =
    ["model", "max_tokens", "stream", "service_tier", "billing_policy", "user_profile_id", "workspace_id"];

/// The headers of a client's request that a backend of this API gets: which version and which beta features the body is written for.
/// Values that cannot stand in a header are left out.
pub fn backend_headers(original: &Original) -> impl Iterator<Item = (&str, &str)> {
    original.headers.iter().filter_map(|(name, value)| {
        let is_passed_on = matches!(name.as_str(), "anthropic-version" | "anthropic-beta");
        let is_plain = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        (is_passed_on && is_plain && !value.trim().is_empty()).then_some((name.as_str(), value.as_str()))
    })
}

#[derive(Deserialize)]
struct Thinking<'a> {
    budget_tokens: Option<u64>,
    #[serde(borrow)]
    display: Option<&'a RawValue>,
}

/// Appends the client's own body, but for what the server decides.
pub(super) fn encode(out: &mut Vec<u8>, chat: &Chat, original: &Original, request: &BackendRequest<'_>) {
    let is_signed = !unsigned::is_in(chat);
    out.extend_from_slice(b"{\"model\":");
    json::string(out, request.model);
    out.extend_from_slice(b",\"max_tokens\":");
    json::number(out, request.max_output_tokens);
    out.extend_from_slice(if request.stream { b",\"stream\":true" } else { b",\"stream\":false" });
    for (name, value) in &original.body {
        if NOT_PASSED_ON.contains(&name.as_str()) {
            continue;
        }
        out.push(b',');
        json::string(out, name);
        out.push(b':');
        match name.as_str() {
            "thinking" => thinking(out, value, request.max_output_tokens),
            "messages" if !is_signed => unsigned::encode_messages_without(out, value),
            _ => out.extend_from_slice(value.get().as_bytes()),
        }
    }
    out.push(b'}');
}

/// The least budget for thinking that Anthropic takes, in tokens.
const BUDGET_MIN: u64 = 1_024;

/// The budget must be less than the output limit, which the server may have lowered: then the budget is lowered too.
fn thinking(out: &mut Vec<u8>, value: &RawValue, max_output_tokens: u64) {
    let thinking = Thinking::deserialize(value).ok();
    let budget = thinking.as_ref().and_then(|thinking| thinking.budget_tokens);
    if budget.is_none_or(|budget| budget < max_output_tokens || budget < BUDGET_MIN) {
        out.extend_from_slice(value.get().as_bytes());
        return;
    }
    let lowered = max_output_tokens.saturating_sub(1);
    if lowered < BUDGET_MIN {
        out.extend_from_slice(b"{\"type\":\"disabled\"}");
        return;
    }
    out.extend_from_slice(b"{\"type\":\"enabled\",\"budget_tokens\":");
    json::number(out, lowered);
    if let Some(display) = thinking.and_then(|thinking| thinking.display) {
        out.extend_from_slice(b",\"display\":");
        out.extend_from_slice(display.get().as_bytes());
    }
    out.push(b'}');
}
