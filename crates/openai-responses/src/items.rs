//! The items of `input`: what was said and done so far.

use crate::tools::{TOOL_SEARCH, Tools};
use crate::{RequestError, field};
use serde::Deserialize;
use serde_json::value::RawValue;
use tithe_chat::{Image, Message, Part, Reasoning, Role, ToolCall, ToolResult};

/// What precedes the data of reasoning that a backend has hidden, so that it can be told from a signature when the client sends it back.
pub(crate) const REDACTED: &str = "redacted:";

#[derive(Deserialize)]
struct RawItem<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    call_id: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    namespace: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    summary: Option<&'a RawValue>,
    #[serde(borrow)]
    encrypted_content: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawPart<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    image_url: Option<&'a RawValue>,
    #[serde(borrow)]
    file_id: Option<&'a RawValue>,
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
}

/// An item, and what it is called in messages.
pub(crate) struct Item<'a> {
    raw: RawItem<'a>,
    kind: String,
    param: String,
    /// The tools that the item has brought.
    found: Vec<String>,
}

/// Reads `input`, and the tools that its items bring.
pub(crate) fn read<'a>(input: &'a RawValue, tools: &mut Tools<'a>) -> Result<Vec<Item<'a>>, RequestError> {
    let mut items = Vec::new();
    for (at, value) in field::items(input, "input")?.into_iter().enumerate() {
        let param = format!("input[{at}]");
        let raw: RawItem<'a> = field::object(value, &param)?;
        let kind = match field::present(raw.kind) {
            Some(kind) => field::text(Some(kind), &format!("{param}.type"))?,
            None if raw.role.is_some() => "message".to_owned(),
            None => return Err(RequestError::missing(&format!("{param}.type"), "the type of the item")),
        };
        let brings_tools = matches!(kind.as_str(), "additional_tools" | "tool_search_output");
        let found = match raw.tools.filter(|_| brings_tools) {
            Some(more) => tools.read_more(more, &format!("{param}.tools"))?,
            None => Vec::new(),
        };
        items.push(Item { raw, kind, param, found });
    }
    Ok(items)
}

impl Item<'_> {
    /// Adds the item to the messages.
    pub(crate) fn add_to(&self, messages: &mut Vec<Message>, tools: &Tools<'_>) -> Result<(), RequestError> {
        match self.kind.as_str() {
            "message" => self.message(messages),
            // One of Codex's agents speaks to another.
            "agent_message" => {
                let parts = self.content(Role::User)?;
                push(messages, Role::User, parts);
                Ok(())
            }
            "reasoning" => {
                if let Some(reasoning) = self.reasoning()? {
                    push_to_last(messages, Role::Assistant, Part::Reasoning(reasoning));
                }
                Ok(())
            }
            "function_call" | "custom_tool_call" => {
                let call = self.call(tools)?;
                push_to_last(messages, Role::Assistant, Part::ToolCall(call));
                Ok(())
            }
            "function_call_output" | "custom_tool_call_output" => {
                let result = self.result()?;
                push_result(messages, result);
                Ok(())
            }
            // A search by the client has an id.
            "tool_search_call" if field::present(self.raw.call_id).is_some() => {
                let id = field::name(self.raw.call_id, &self.at("call_id"))?;
                let name = tools.names.flat(None, TOOL_SEARCH);
                let arguments = self.raw.arguments.map_or("{}", RawValue::get).to_owned();
                push_to_last(messages, Role::Assistant, Part::ToolCall(ToolCall { id, name, arguments }));
                Ok(())
            }
            "tool_search_output" if field::present(self.raw.call_id).is_some() => {
                let call = field::name(self.raw.call_id, &self.at("call_id"))?;
                // What they are for is said where they are offered.
                let text = match self.found.as_slice() {
                    [] => "No further tools.".to_owned(),
                    found => format!("Tools that can be called from now on: {}", found.join(", ")),
                };
                push_result(messages, ToolResult { call, parts: vec![Part::Text(text)], is_error: false });
                Ok(())
            }
            kind if is_refused(kind) => Err(RequestError::unsupported(
                &self.at("type"),
                "an item that the server can read: it stores nothing and runs no tools",
                kind,
            )),
            // What has been read already (`additional_tools`), and what other servers have done, such as `web_search_call`: the model's own words about it are items of their own.
            _ => Ok(()),
        }
    }

    fn at(&self, field: &str) -> String {
        format!("{}.{field}", self.param)
    }

    fn message(&self, messages: &mut Vec<Message>) -> Result<(), RequestError> {
        let param = self.at("role");
        let role = match field::text(self.raw.role, &param)?.as_str() {
            "system" | "developer" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            other => {
                return Err(RequestError::value(&param, "user, assistant, system or developer", other));
            }
        };
        let parts = self.content(role)?;
        if role == Role::Assistant {
            for part in parts {
                push_to_last(messages, role, part);
            }
        } else {
            push(messages, role, parts);
        }
        Ok(())
    }

    fn content(&self, role: Role) -> Result<Vec<Part>, RequestError> {
        let param = self.at("content");
        let Some(content) = field::present(self.raw.content) else {
            return Err(RequestError::missing(&param, "a string or an array of parts"));
        };
        parts(content, &param, role == Role::User)
    }

    fn call(&self, tools: &Tools<'_>) -> Result<ToolCall, RequestError> {
        let id = field::name(self.raw.call_id, &self.at("call_id"))?;
        let name = field::name(self.raw.name, &self.at("name"))?;
        let namespace = field::optional_text(self.raw.namespace, &self.at("namespace"))?;
        let arguments = if self.kind == "custom_tool_call" {
            let mut arguments = b"{\"input\":".to_vec();
            crate::json::string(&mut arguments, &field::text(self.raw.input, &self.at("input"))?);
            arguments.push(b'}');
            String::from_utf8_lossy(&arguments).into_owned()
        } else {
            field::text(self.raw.arguments, &self.at("arguments"))?
        };
        Ok(ToolCall { id, name: tools.names.flat(namespace.as_deref(), &name), arguments })
    }

    fn result(&self) -> Result<ToolResult, RequestError> {
        #[derive(Deserialize)]
        struct Wrapped<'a> {
            #[serde(borrow)]
            content: Option<&'a RawValue>,
            success: Option<bool>,
        }
        let call = field::name(self.raw.call_id, &self.at("call_id"))?;
        let param = self.at("output");
        let Some(output) = self.raw.output else {
            return Err(RequestError::missing(&param, "a string or an array of parts"));
        };
        let (mut output, mut is_error) = (output, false);
        // Early versions of Codex wrap it.
        if field::is_object(output) {
            let wrapped: Wrapped<'_> = field::object(output, &param)?;
            is_error = wrapped.success == Some(false);
            output = wrapped
                .content
                .ok_or_else(|| RequestError::kind(&param, "a string or an array of parts", "an object"))?;
        }
        Ok(ToolResult { call, parts: parts(output, &param, true)?, is_error })
    }

    /// The reasoning; `None` if nothing of it is here.
    fn reasoning(&self) -> Result<Option<Reasoning>, RequestError> {
        let mut text = String::new();
        // Clients keep what they were shown; the full text, where it is there, is what the signature is of.
        for (field, value) in [("content", self.raw.content), ("summary", self.raw.summary)] {
            let Some(value) = field::present(value).filter(|_| text.is_empty()) else { continue };
            let param = self.at(field);
            for (at, value) in field::items(value, &param)?.into_iter().enumerate() {
                let param = format!("{param}[{at}]");
                let part: RawPart<'_> = field::object(value, &param)?;
                text.push_str(
                    &field::optional_text(part.text, &format!("{param}.text"))?.unwrap_or_default(),
                );
            }
        }
        let signature = field::optional_text(self.raw.encrypted_content, &self.at("encrypted_content"))?;
        let signature = signature.filter(|signature| !signature.is_empty());
        if text.is_empty() && signature.is_none() {
            return Ok(None);
        }
        Ok(Some(match signature.as_deref().and_then(|signature| signature.strip_prefix(REDACTED)) {
            Some(data) => Reasoning { text, signature: Some(data.to_owned()), is_redacted: true },
            None => Reasoning { text, signature, is_redacted: false },
        }))
    }
}

/// Whether the chat would be another without an item, and the server cannot read it: what is stored elsewhere, what is encrypted for
/// another server, and what belongs to tools that are refused.
fn is_refused(kind: &str) -> bool {
    matches!(kind, "item_reference" | "compaction" | "compaction_summary" | "context_compaction")
        || ["computer_call", "local_shell_call", "shell_call", "apply_patch_call", "mcp_approval", "program"]
            .iter()
            .any(|tool| kind.starts_with(tool))
}

/// Adds a message of its own.
fn push(messages: &mut Vec<Message>, role: Role, parts: Vec<Part>) {
    if !parts.is_empty() {
        messages.push(Message { role, parts });
    }
}

/// Adds a part to the last message, if it is of the same author: items are parts of an answer.
fn push_to_last(messages: &mut Vec<Message>, role: Role, part: Part) {
    match messages.last_mut() {
        Some(last) if last.role == role => last.parts.push(part),
        _ => messages.push(Message { role, parts: vec![part] }),
    }
}

/// Adds a result to the results of the same answer's other calls.
fn push_result(messages: &mut Vec<Message>, result: ToolResult) {
    let result = Part::ToolResult(result);
    match messages.last_mut() {
        Some(last) if matches!(last.parts.last(), Some(Part::ToolResult(_))) => last.parts.push(result),
        _ => messages.push(Message { role: Role::User, parts: vec![result] }),
    }
}

/// Reads content: a string, or an array of parts. Empty texts are left out.
fn parts(value: &RawValue, param: &str, has_images: bool) -> Result<Vec<Part>, RequestError> {
    if field::is_string(value) {
        let text = field::text(Some(value), param)?;
        return Ok(if text.is_empty() { Vec::new() } else { vec![Part::Text(text)] });
    }
    if !field::is_array(value) {
        return Err(RequestError::kind(param, "a string or an array of parts", field::kind(value)));
    }
    let mut parts = Vec::new();
    for (at, value) in field::items(value, param)?.into_iter().enumerate() {
        let param = format!("{param}[{at}]");
        let part: RawPart<'_> = field::object(value, &param)?;
        let kind_param = format!("{param}.type");
        let text = match field::text(part.kind, &kind_param)?.as_str() {
            "input_text" | "output_text" | "text" => field::text(part.text, &format!("{param}.text"))?,
            "refusal" => field::text(part.refusal, &format!("{param}.refusal"))?,
            "input_image" if has_images => {
                parts.push(Part::Image(image(&part, &param)?));
                continue;
            }
            // What another server has encrypted for itself, beside what can be read.
            "encrypted_content" => continue,
            other => {
                let expected = if has_images {
                    "input_text or input_image (with the image itself)"
                } else {
                    "input_text, output_text or refusal"
                };
                return Err(RequestError::unsupported(&kind_param, expected, other));
            }
        };
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
    }
    Ok(parts)
}

fn image(part: &RawPart<'_>, param: &str) -> Result<Image, RequestError> {
    #[derive(Deserialize)]
    struct Wrapped<'a> {
        #[serde(borrow)]
        url: Option<&'a RawValue>,
    }
    const EXPECTED: &str = "the image itself as data:image/png;base64,…";
    let url_param = format!("{param}.image_url");
    let Some(url) = field::present(part.image_url) else {
        let file_param = format!("{param}.file_id");
        return Err(match field::present(part.file_id) {
            Some(_) => RequestError::unsupported_field(&file_param, EXPECTED),
            None => RequestError::missing(&url_param, EXPECTED),
        });
    };
    // As in chat completions.
    let url = if field::is_object(url) {
        field::text(field::object::<Wrapped<'_>>(url, &url_param)?.url, &format!("{url_param}.url"))?
    } else {
        field::text(Some(url), &url_param)?
    };
    let mut image = Image::from_data_url(&url).map_err(|error| RequestError {
        message: format!("`{url_param}`: {error}"),
        param: Some(url_param),
        code: "invalid_value",
    })?;
    image.detail = field::optional_text(part.detail, &format!("{param}.detail"))?;
    Ok(image)
}
