//! How the answer is to be generated.

use super::error::RequestError;
use super::fields::{Fields, read};
use serde::Deserialize;
use serde_json::value::RawValue;
use tithe_chat::{Effort, ReplyFormat, Sampling, Schema};

/// The most tokens to generate.
pub(super) fn max_tokens(fields: &Fields<'_>) -> Result<u64, RequestError> {
    let value = fields.required("max_tokens")?;
    let wrong = || RequestError::expected("max_tokens", "a whole number of at least 1", value);
    // Some clients compute it, and send 4096.0.
    let text = value.get().strip_suffix(".0").unwrap_or(value.get());
    text.parse().ok().filter(|max_tokens| *max_tokens > 0).ok_or_else(wrong)
}

pub(super) fn sampling(fields: &Fields<'_>) -> Result<Sampling, RequestError> {
    Ok(Sampling {
        temperature: share(fields, "temperature")?,
        top_p: share(fields, "top_p")?,
        stop: fields.read("stop_sequences", "an array of strings")?.unwrap_or_default(),
    })
}

fn share(fields: &Fields<'_>, name: &str) -> Result<Option<f64>, RequestError> {
    let Some(value) = fields.get(name) else { return Ok(None) };
    let expected = "a number from 0 to 1";
    let share: f64 = read(value, name, expected)?;
    if (0.0..=1.0).contains(&share) {
        Ok(Some(share))
    } else {
        Err(RequestError::expected(name, expected, value))
    }
}

#[derive(Deserialize)]
struct OutputConfig<'a> {
    #[serde(borrow)]
    effort: Option<&'a RawValue>,
    #[serde(borrow)]
    format: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Thinking {
    #[serde(rename = "type")]
    kind: Option<String>,
    budget_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Format<'a> {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
}

/// The form of the answer and the effort, from `output_config`, `thinking`, and `output_format` (an older name of
/// `output_config.format`).
pub(super) fn output(fields: &Fields<'_>) -> Result<(ReplyFormat, Option<Effort>), RequestError> {
    let config: Option<OutputConfig<'_>> = fields.read("output_config", "an object")?;
    let (effort, new_format) = config.map_or((None, None), |config| (config.effort, config.format));
    let format = match (new_format, fields.get("output_format")) {
        (Some(format), _) => reply_format(format, "output_config.format")?,
        (None, Some(format)) => reply_format(format, "output_format")?,
        (None, None) => ReplyFormat::Text,
    };
    let thinking: Option<Thinking> = fields.read("thinking", "an object with a type")?;
    Ok((format, effort_of(thinking.as_ref(), effort)))
}

/// What is unknown is left to the backend.
fn effort_of(thinking: Option<&Thinking>, effort: Option<&RawValue>) -> Option<Effort> {
    let kind = thinking.and_then(|thinking| thinking.kind.as_deref());
    if kind == Some("disabled") {
        return Some(Effort::None);
    }
    let effort = effort.and_then(|effort| String::deserialize(effort).ok());
    match effort.as_deref() {
        Some("minimal") => Some(Effort::Minimal),
        Some("low") => Some(Effort::Low),
        Some("medium") => Some(Effort::Medium),
        Some("high") => Some(Effort::High),
        Some("xhigh" | "max") => Some(Effort::Max),
        _ => {
            match thinking.and_then(|thinking| thinking.budget_tokens).filter(|_| kind == Some("enabled"))? {
                0..4_096 => Some(Effort::Low),
                4_096..16_384 => Some(Effort::Medium),
                _ => Some(Effort::High),
            }
        }
    }
}

fn reply_format(value: &RawValue, param: &str) -> Result<ReplyFormat, RequestError> {
    let format: Format<'_> = read(value, param, "an object with a type")?;
    if format.kind.as_deref() != Some("json_schema") {
        return Ok(ReplyFormat::Text);
    }
    let schema = format.schema.ok_or_else(|| RequestError::missing(format!("{param}.schema")))?;
    if !schema.get().starts_with('{') {
        return Err(RequestError::expected(format!("{param}.schema"), "a JSON schema", schema));
    }
    let schema = schema.to_owned();
    Ok(ReplyFormat::Schema(Schema {
        name: "answer".to_owned(),
        description: None,
        schema,
        strict: Some(true),
    }))
}

#[derive(Deserialize)]
struct ContextManagement<'a> {
    #[serde(borrow)]
    edits: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Edit {
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// Refuses what would make the backend do work that the answer's usage does not show, or that has another price.
pub(super) fn refuse_unpriced(fields: &Fields<'_>) -> Result<(), RequestError> {
    for (name, what) in [
        ("mcp_servers", "a server of tools that the backend calls"),
        ("container", "a container that the backend runs"),
        ("fallbacks", "an answer of another model"),
        ("fallback_credit_token", "a credit of the backend"),
        ("compaction", "a summary by the backend"),
        ("thread", "a chat that the backend keeps"),
    ] {
        if fields.get(name).is_some_and(|value| !matches!(value.get(), "[]" | "{}" | "\"\"")) {
            return Err(RequestError::unsupported(name, what));
        }
    }
    for (name, usual, what) in
        [("speed", "\"standard\"", "another speed"), ("inference_geo", "\"global\"", "a region of inference")]
    {
        if fields.get(name).is_some_and(|value| value.get() != usual) {
            return Err(RequestError::unsupported(name, what));
        }
    }
    let Some(value) = fields.get("context_management") else { return Ok(()) };
    let edits = ContextManagement::deserialize(value).ok().and_then(|management| management.edits);
    for (index, edit) in edits.into_iter().flatten().enumerate() {
        let kind = Edit::deserialize(edit).ok().and_then(|edit| edit.kind).unwrap_or_default();
        if kind.starts_with("compact") {
            let param = format!("context_management.edits.{index}");
            return Err(RequestError::unsupported(param, "a summary by the backend"));
        }
    }
    Ok(())
}
