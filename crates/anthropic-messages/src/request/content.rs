//! Messages and the blocks that they consist of.

use super::error::{RequestError, excerpt};
use super::fields::read;
use serde::Deserialize;
use serde_json::value::RawValue;
use tithe_chat::{Image, ImageKind, Message, Part, Reasoning, Role, ToolCall, ToolResult};

#[derive(Deserialize)]
struct WireMessage<'a> {
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

/// A block of any type. What is read of it depends on the type.
#[derive(Deserialize)]
struct Block<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow)]
    signature: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow)]
    title: Option<&'a RawValue>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_use_id: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    is_error: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_name: Option<&'a RawValue>,
    #[serde(borrow)]
    tool: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    media_type: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<&'a RawValue>,
}

fn required<'a>(
    value: Option<&'a RawValue>,
    param: &str,
    field: &str,
) -> Result<(String, &'a RawValue), RequestError> {
    let param = format!("{param}.{field}");
    match value {
        Some(value) => Ok((param, value)),
        None => Err(RequestError::missing(param)),
    }
}

fn required_string(value: Option<&RawValue>, param: &str, field: &str) -> Result<String, RequestError> {
    let (param, value) = required(value, param, field)?;
    read(value, &param, "a string")
}

/// A text that may be absent; of another type, it is as good as absent.
fn optional_string(value: Option<&RawValue>) -> Option<String> {
    value.and_then(|value| String::deserialize(value).ok()).filter(|text| !text.is_empty())
}

/// The field `system`: a message of its own, if it has any text.
pub(super) fn system(value: &RawValue) -> Result<Option<Message>, RequestError> {
    let parts = parts(value, "system", Place::System)?;
    Ok((!parts.is_empty()).then_some(Message { role: Role::System, parts }))
}

/// The field `messages`.
pub(super) fn messages(value: &RawValue) -> Result<Vec<Message>, RequestError> {
    let values: Vec<&RawValue> = read(value, "messages", "an array of messages")?;
    if values.is_empty() {
        return Err(RequestError::invalid("messages", "at least one message is required"));
    }
    let decoded =
        values.into_iter().enumerate().map(|(index, value)| message(value, &format!("messages.{index}")));
    decoded.collect()
}

fn message(value: &RawValue, param: &str) -> Result<Message, RequestError> {
    let WireMessage { role, content } = read(value, param, "a message with role and content")?;
    let role = required_string(role, param, "role")?;
    let (role, place) = match role.as_str() {
        "user" => (Role::User, Place::User),
        "assistant" => (Role::Assistant, Place::Assistant),
        "system" => (Role::System, Place::System),
        other => {
            let message = format!("expected \"user\", \"assistant\" or \"system\", got {:?}", excerpt(other));
            return Err(RequestError::invalid(format!("{param}.role"), message));
        }
    };
    // A system message may consist of settings alone.
    if content.is_none() && role == Role::System {
        return Ok(Message { role, parts: Vec::new() });
    }
    let (param, content) = required(content, param, "content")?;
    Ok(Message { role, parts: parts(content, &param, place)? })
}

/// Where a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    System,
    User,
    Assistant,
    /// In a tool's result.
    Result,
    /// In a document or a search result.
    Document,
}

/// Content: a string, or an array of blocks.
fn parts(content: &RawValue, param: &str, place: Place) -> Result<Vec<Part>, RequestError> {
    if content.get().starts_with('"') {
        let text: String = read(content, param, "a string")?;
        return Ok(if text.is_empty() { Vec::new() } else { vec![Part::Text(text)] });
    }
    let blocks: Vec<&RawValue> = read(content, param, "a string or an array of blocks")?;
    let mut parts = Vec::with_capacity(blocks.len());
    for (index, value) in blocks.into_iter().enumerate() {
        block(value, &format!("{param}.{index}"), place, &mut parts)?;
    }
    Ok(parts)
}

fn block(value: &RawValue, param: &str, place: Place, parts: &mut Vec<Part>) -> Result<(), RequestError> {
    let block: Block<'_> = serde_json::from_str(value.get())
        .map_err(|reason| RequestError::invalid(param, format!("expected a block, got {reason}")))?;
    let kind = required_string(block.kind, param, "type")?;
    let misplaced = || {
        let message = format!("unexpected block: got {:?} where it cannot be", excerpt(&kind));
        Err(RequestError::invalid(format!("{param}.type"), message))
    };
    match kind.as_str() {
        "text" => parts.push(Part::Text(required_string(block.text, param, "text")?)),
        "image" if matches!(place, Place::User | Place::Result | Place::Document) => {
            parts.push(Part::Image(image(block.source, param)?));
        }
        "document" if matches!(place, Place::User | Place::Assistant | Place::Result) => {
            document(&block, param, parts)?;
        }
        "search_result" if matches!(place, Place::User | Place::Assistant | Place::Result) => {
            parts.extend(heading([block.title, block.source]));
            let (param, content) = required(block.content, param, "content")?;
            parts.extend(self::parts(content, &param, Place::Document)?);
        }
        "thinking" if place == Place::Assistant => parts.push(Part::Reasoning(Reasoning {
            text: required_string(block.thinking, param, "thinking")?,
            signature: optional_string(block.signature),
            is_redacted: false,
        })),
        "redacted_thinking" if place == Place::Assistant => parts.push(Part::Reasoning(Reasoning {
            text: String::new(),
            signature: Some(required_string(block.data, param, "data")?),
            is_redacted: true,
        })),
        "tool_use" if place == Place::Assistant => {
            let (input_param, input) = required(block.input, param, "input")?;
            if !input.get().starts_with('{') {
                return Err(RequestError::expected(input_param, "an object", input));
            }
            parts.push(Part::ToolCall(ToolCall {
                id: required_string(block.id, param, "id")?,
                name: required_string(block.name, param, "name")?,
                arguments: input.get().to_owned(),
            }));
        }
        "tool_result" if place == Place::User => {
            let content_param = format!("{param}.content");
            let content = block.content.map(|content| self::parts(content, &content_param, Place::Result));
            let is_error = block.is_error.map(|value| read(value, &format!("{param}.is_error"), "a boolean"));
            parts.push(Part::ToolResult(ToolResult {
                call: required_string(block.tool_use_id, param, "tool_use_id")?,
                parts: content.transpose()?.unwrap_or_default(),
                is_error: is_error.transpose()?.unwrap_or(false),
            }));
        }
        "tool_reference" if place == Place::Result => {
            parts.push(Part::Text(required_string(block.tool_name, param, "tool_name")?));
        }
        // Whether a tool that the request has is offered from here on: not said to other backends.
        "tool_addition" | "tool_removal" if place == Place::System => {
            let defines = block.tool.and_then(|tool| Kind::deserialize(tool).ok());
            let kind = defines.and_then(|tool| optional_string(tool.kind)).unwrap_or_default();
            if matches!(kind.as_str(), "tool_definition" | "mcp_toolset" | "mcp_tool") {
                return Err(RequestError::unsupported(format!("{param}.tool"), "a tool within a message"));
            }
        }
        "image" | "document" | "search_result" | "thinking" | "redacted_thinking" | "tool_use"
        | "tool_result" => {
            return misplaced();
        }
        kind if is_of_the_backend(kind) => {
            return Err(RequestError::unsupported(param, &format!("a block of type {:?}", excerpt(kind))));
        }
        // A block of the future: a backend of this API gets it as it is, and it is priced as the text that it is.
        _ => parts.push(Part::Text(value.get().to_owned())),
    }
    Ok(())
}

/// Blocks of tools that the backend has run, and of files and summaries that it keeps.
fn is_of_the_backend(kind: &str) -> bool {
    kind.ends_with("_tool_result")
        || matches!(
            kind,
            "server_tool_use" | "mcp_tool_use" | "mcp_tool_listing" | "container_upload" | "compaction"
        )
}

fn image(source: Option<&RawValue>, param: &str) -> Result<Image, RequestError> {
    let (param, value) = required(source, param, "source")?;
    let source: Source<'_> = read(value, &param, "a source")?;
    match required_string(source.kind, &param, "type")?.as_str() {
        "base64" => {
            let media_type = required_string(source.media_type, &param, "media_type")?;
            let kind: ImageKind = media_type
                .parse()
                .map_err(|error| RequestError::invalid(format!("{param}.media_type"), format!("{error}")))?;
            let data = required_string(source.data, &param, "data")?;
            Image::new(kind, data)
                .map_err(|error| RequestError::invalid(format!("{param}.data"), error.to_string()))
        }
        "url" => Err(RequestError::unsupported(param, "a remote image")),
        "file" => Err(RequestError::unsupported(param, "a file that the backend keeps")),
        other => Err(unknown_source(&param, "\"base64\"", other)),
    }
}

fn unknown_source(param: &str, expected: &str, got: &str) -> RequestError {
    let message = format!("unknown source: expected {expected}, got {:?}", excerpt(got));
    RequestError::invalid(format!("{param}.type"), message)
}

/// The title of a document and what it is about, as a text before it.
fn heading(values: [Option<&RawValue>; 2]) -> Option<Part> {
    let lines: Vec<String> = values.into_iter().filter_map(optional_string).collect();
    (!lines.is_empty()).then(|| Part::Text(lines.join("\n")))
}

fn document(block: &Block<'_>, param: &str, parts: &mut Vec<Part>) -> Result<(), RequestError> {
    let (param, value) = required(block.source, param, "source")?;
    let source: Source<'_> = read(value, &param, "a source")?;
    parts.extend(heading([block.title, block.context]));
    match required_string(source.kind, &param, "type")?.as_str() {
        "text" => parts.push(Part::Text(required_string(source.data, &param, "data")?)),
        "content" => {
            let (param, content) = required(source.content, &param, "content")?;
            parts.extend(self::parts(content, &param, Place::Document)?);
        }
        "base64" => return Err(RequestError::unsupported(param, "a PDF document")),
        "url" => return Err(RequestError::unsupported(param, "a remote document")),
        "file" => return Err(RequestError::unsupported(param, "a file that the backend keeps")),
        other => return Err(unknown_source(&param, "\"text\" or \"content\"", other)),
    }
    Ok(())
}
