//! Whole answers of backends.

use super::counts::Counts;
use super::error::BackendError;
use super::raw::{absent, input};
use crate::stop_reason;
use serde::Deserialize;
use serde_json::value::RawValue;
use tithe_chat::{Part, Reasoning, Reply, ToolCall};
use tithe_pricing::Usage;

/// A complete response, or an error.
#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    stop_reason: Option<String>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// A part of the model's output. Of unknown types, nothing is read.
#[derive(Deserialize)]
struct Block<'a> {
    #[serde(rename = "type", default, deserialize_with = "absent")]
    kind: String,
    #[serde(default, deserialize_with = "absent")]
    text: String,
    #[serde(default, deserialize_with = "absent")]
    thinking: String,
    signature: Option<String>,
    data: Option<String>,
    #[serde(default, deserialize_with = "absent")]
    id: String,
    #[serde(default, deserialize_with = "absent")]
    name: String,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type", default, deserialize_with = "absent")]
    kind: String,
}

/// Reads the body of a response, and its usage if it has a consistent one.
///
/// # Errors
/// [`BackendError`] if it reports an error, is no JSON, or has no content.
pub fn parse_reply(body: &[u8]) -> Result<(Reply, Option<Usage>), BackendError> {
    let whole: Whole<'_> = serde_json::from_slice(body)?;
    if let Some(error) = whole.error {
        return Err(BackendError::Reported(error.to_owned()));
    }
    let content = whole.content.ok_or(BackendError::Wrong("it has no content"))?;
    let mut parts = Vec::new();
    if content.get().starts_with('"') {
        parts.push(Part::Text(serde_json::from_str(content.get())?));
    } else {
        for block in serde_json::from_str::<Vec<&RawValue>>(content.get())? {
            // What is unknown may have fields of any form.
            let kind: Kind = serde_json::from_str(block.get())?;
            if matches!(kind.kind.as_str(), "text" | "thinking" | "redacted_thinking" | "tool_use") {
                parts.extend(part(serde_json::from_str(block.get())?));
            }
        }
    }
    let calls_tools = parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
    let stated = whole.stop_reason.as_deref().and_then(stop_reason::parse);
    // A whole answer without a reason is whole.
    let finish = stated.unwrap_or(stop_reason::unstated(calls_tools));
    Ok((Reply { parts, finish }, Counts::read(whole.usage).usage()))
}

fn part(block: Block<'_>) -> Option<Part> {
    let signature = block.signature.filter(|signature| !signature.is_empty());
    match block.kind.as_str() {
        "text" => (!block.text.is_empty()).then_some(Part::Text(block.text)),
        "thinking" if block.thinking.is_empty() && signature.is_none() => None,
        "thinking" => {
            Some(Part::Reasoning(Reasoning { text: block.thinking, signature, is_redacted: false }))
        }
        "redacted_thinking" => {
            let signature = block.data.filter(|data| !data.is_empty())?;
            Some(Part::Reasoning(Reasoning {
                text: String::new(),
                signature: Some(signature),
                is_redacted: true,
            }))
        }
        "tool_use" => {
            let arguments = match input(block.input) {
                "" => "{}",
                input => input,
            };
            Some(Part::ToolCall(ToolCall { id: block.id, name: block.name, arguments: arguments.to_owned() }))
        }
        _ => None,
    }
}
