//! Requests to backends.

use super::BackendRequest;
use super::messages::{WireMessage, messages};
use super::withheld::is_withheld;
use crate::json::append;
use serde::Serialize;
use serde_json::value::RawValue;
use tithe_chat::{Api, Chat, Effort, Original, ReplyFormat, Schema, Tool, ToolChoice};

/// Appends the body of a request to a backend.
///
/// A chat that a client has sent in this API is passed on as it is, field for field, but for the model, the limit and what asks for
/// a stream, and for fields that change what an answer costs, who gives it, or where it is kept. (`user`, `safety_identifier` and
/// `prompt_cache_key` are passed on: the client wrote them for the backend.) Any other chat is translated; reasoning is left out.
pub fn encode_request(out: &mut Vec<u8>, chat: &Chat, request: &BackendRequest<'_>) {
    let start = out.len();
    match &chat.original {
        Some(original) if original.api == Api::OpenAiChat => pass_on(out, original, request.deterministic),
        _ => translate(out, chat, request.deterministic),
    }
    // The fields so far begin with a comma, or there are none.
    if out.len() > start {
        if let Some(comma) = out.get_mut(start) {
            *comma = b'{';
        }
        out.push(b',');
    } else {
        out.push(b'{');
    }
    // What the server decides comes last: of fields that a backend takes for the same, the last counts.
    out.extend_from_slice(b"\"model\":");
    append(out, request.model);
    let dialect = request.dialect;
    field(out, if dialect.max_completion_tokens { "max_completion_tokens" } else { "max_tokens" });
    append(out, &request.max_output_tokens);
    if request.deterministic && dialect.zero_temperature {
        out.extend_from_slice(b",\"temperature\":0");
    }
    field(out, "stream");
    append(out, &request.stream);
    if request.stream && dialect.stream_options {
        out.extend_from_slice(b",\"stream_options\":{\"include_usage\":true}");
    }
    out.push(b'}');
}

fn field(out: &mut Vec<u8>, name: &str) {
    out.push(b',');
    append(out, name);
    out.push(b':');
}

fn pass_on(out: &mut Vec<u8>, original: &Original, deterministic: bool) {
    for (name, value) in &original.body {
        let withheld = match name.as_str() {
            // The others have other prices.
            "service_tier" => !matches!(value.get(), "\"auto\"" | "\"default\""),
            "temperature" => deterministic,
            name => is_withheld(name),
        };
        if !withheld {
            field(out, name);
            out.extend_from_slice(value.get().as_bytes());
        }
    }
}

fn translate(out: &mut Vec<u8>, chat: &Chat, deterministic: bool) {
    let has_tools = !chat.tools.is_empty();
    let body = Body {
        messages: messages(&chat.messages),
        tools: chat.tools.iter().map(WireTool::of).collect(),
        tool_choice: has_tools.then(|| WireChoice::of(&chat.tool_choice)).flatten(),
        parallel_tool_calls: chat.parallel_tool_calls.filter(|_| has_tools),
        response_format: WireFormat::of(&chat.format),
        reasoning_effort: chat.effort.map(effort),
        temperature: chat.sampling.temperature.filter(|_| !deterministic),
        top_p: chat.sampling.top_p,
        stop: &chat.sampling.stop,
    };
    let start = out.len();
    append(out, &body);
    // The fields follow others: a comma takes the place of their object's brace.
    if let Some(brace) = out.get_mut(start) {
        *brace = b',';
    }
    out.pop();
}

const fn effort(effort: Effort) -> &'static str {
    match effort {
        Effort::None => "none",
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        // More models know this name than "max".
        Effort::Max => "xhigh",
    }
}

#[derive(Serialize)]
struct Body<'a> {
    messages: Vec<WireMessage<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<WireChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<WireFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop: &'a [String],
}

#[derive(Serialize)]
#[serde(tag = "type", content = "function", rename_all = "snake_case")]
enum WireTool<'a> {
    Function(Function<'a>),
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

impl<'a> WireTool<'a> {
    fn of(tool: &'a Tool) -> Self {
        Self::Function(Function {
            name: &tool.name,
            description: tool.description.as_deref(),
            parameters: tool.parameters.as_deref(),
            strict: tool.strict,
        })
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireChoice<'a> {
    Mode(&'static str),
    Named(Named<'a>),
}

#[derive(Serialize)]
#[serde(tag = "type", content = "function", rename_all = "snake_case")]
enum Named<'a> {
    Function(Name<'a>),
}

#[derive(Serialize)]
struct Name<'a> {
    name: &'a str,
}

impl<'a> WireChoice<'a> {
    fn of(choice: &'a ToolChoice) -> Option<Self> {
        match choice {
            ToolChoice::Auto => None,
            ToolChoice::None => Some(Self::Mode("none")),
            ToolChoice::Required => Some(Self::Mode("required")),
            ToolChoice::Named(name) => Some(Self::Named(Named::Function(Name { name }))),
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", content = "json_schema", rename_all = "snake_case")]
enum WireFormat<'a> {
    JsonObject,
    JsonSchema(JsonSchema<'a>),
}

#[derive(Serialize)]
struct JsonSchema<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    schema: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

impl<'a> WireFormat<'a> {
    fn of(format: &'a ReplyFormat) -> Option<Self> {
        match format {
            ReplyFormat::Text => None,
            ReplyFormat::Json => Some(Self::JsonObject),
            ReplyFormat::Schema(Schema { name, description, schema, strict }) => {
                let description = description.as_deref();
                Some(Self::JsonSchema(JsonSchema { name, description, schema, strict: *strict }))
            }
        }
    }
}

#[cfg(test)]
mod tests;
