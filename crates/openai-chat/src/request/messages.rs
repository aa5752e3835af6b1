//! Messages.

use crate::json::{Fields, Node, Path};
use crate::request_error::RequestError;
use std::borrow::Cow;
use tithe_chat::{Image, Message, Part, Reasoning, Role, ToolCall, ToolResult};

/// Reads the messages of a request. The results of functions that follow each other are one message.
pub(super) fn messages(node: &Node<'_, '_>) -> Result<Vec<Message>, RequestError> {
    let elements = node.array("an array of messages")?;
    if elements.is_empty() {
        return Err(node.path.error("empty_array", "invalid", "at least 1 message, got none"));
    }
    let mut reader = Reader { messages: Vec::with_capacity(elements.len()), after_result: false };
    for (index, raw) in elements.into_iter().enumerate() {
        reader.read(&node.element(index, raw), index)?;
    }
    Ok(reader.messages)
}

struct Reader {
    messages: Vec<Message>,
    /// Whether the message before was the result of a function.
    after_result: bool,
}

impl Reader {
    fn read(&mut self, node: &Node<'_, '_>, index: usize) -> Result<(), RequestError> {
        const ROLES: &str = "system, developer, user, assistant or tool";
        let fields = node.object("an object")?;
        let role = fields.get(&node.path, "role");
        let role = role.ok_or_else(|| Path::Field(&node.path, "role").missing(ROLES))?;
        let name = role.string()?;
        let after_result = std::mem::replace(&mut self.after_result, matches!(&*name, "tool" | "function"));
        let (role, parts) = match name.as_ref() {
            "system" | "developer" => (Role::System, required(&fields, node, Allowed::Text)?),
            "user" => (Role::User, required(&fields, node, Allowed::TextAndImages)?),
            "assistant" => (Role::Assistant, assistant(&fields, node, index)?),
            "tool" | "function" => {
                let call = self.call(&fields, node, &name)?;
                let parts = content(&fields, node, Allowed::TextAndImages)?.unwrap_or_default();
                let result = Part::ToolResult(ToolResult { call, parts, is_error: false });
                if after_result && let Some(message) = self.messages.last_mut() {
                    message.parts.push(result);
                    return Ok(());
                }
                (Role::User, vec![result])
            }
            _ => return Err(role.wrong_value(ROLES)),
        };
        self.messages.push(Message { role, parts });
        Ok(())
    }

    /// The id of the call that a result belongs to.
    fn call(&self, fields: &Fields<'_>, node: &Node<'_, '_>, role: &str) -> Result<String, RequestError> {
        if role == "tool" {
            let id = fields.get(&node.path, "tool_call_id");
            let missing = || Path::Field(&node.path, "tool_call_id").missing("the id of a call");
            return Ok(id.ok_or_else(missing)?.string()?.into_owned());
        }
        // The API of old knew functions by name only.
        let name = fields.get(&node.path, "name");
        let name = name.ok_or_else(|| Path::Field(&node.path, "name").missing("the name of a function"))?;
        let name = name.string()?;
        let parts = self.messages.iter().rev().flat_map(|message| message.parts.iter().rev());
        let mut calls = parts.filter_map(|part| match part {
            Part::ToolCall(call) if call.name == name => Some(call.id.clone()),
            _ => None,
        });
        Ok(calls.next().unwrap_or_else(|| format!("call_{name}")))
    }
}

/// What a content may consist of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allowed {
    Text,
    TextAndImages,
    TextAndRefusals,
}

fn required(fields: &Fields<'_>, node: &Node<'_, '_>, allowed: Allowed) -> Result<Vec<Part>, RequestError> {
    let missing = || Path::Field(&node.path, "content").missing("a string or an array of parts");
    content(fields, node, allowed)?.ok_or_else(missing)
}

fn content(
    fields: &Fields<'_>,
    node: &Node<'_, '_>,
    allowed: Allowed,
) -> Result<Option<Vec<Part>>, RequestError> {
    const EXPECTED: &str = "a string or an array of parts";
    let Some(content) = fields.get(&node.path, "content") else { return Ok(None) };
    if content.is_string() {
        return Ok(Some(vec![Part::Text(content.string()?.into_owned())]));
    }
    let elements = content.array(EXPECTED)?;
    let read = |(index, raw)| part(&content.element(index, raw), allowed);
    elements.into_iter().enumerate().map(read).collect::<Result<_, _>>().map(Some)
}

fn part(node: &Node<'_, '_>, allowed: Allowed) -> Result<Part, RequestError> {
    // Some clients write texts without more around them.
    if node.is_string() {
        return Ok(Part::Text(node.string()?.into_owned()));
    }
    let fields = node.object("an object")?;
    let kind = fields.get(&node.path, "type");
    let kind = kind.ok_or_else(|| Path::Field(&node.path, "type").missing("the type of the part"))?;
    let text = |name| -> Result<Part, RequestError> {
        let text = fields.get(&node.path, name);
        let text = text.ok_or_else(|| Path::Field(&node.path, name).missing("a string"))?;
        Ok(Part::Text(text.string()?.into_owned()))
    };
    match (kind.string()?.as_ref(), allowed) {
        ("text", _) => text("text"),
        ("refusal", Allowed::TextAndRefusals) => text("refusal"),
        ("image_url", Allowed::TextAndImages) => image(&fields, node).map(Part::Image),
        (_, Allowed::TextAndImages) => Err(kind.unsupported("text or image_url")),
        (_, Allowed::TextAndRefusals) => Err(kind.unsupported("text or refusal")),
        (_, Allowed::Text) => Err(kind.unsupported("text")),
    }
}

fn image(fields: &Fields<'_>, node: &Node<'_, '_>) -> Result<Image, RequestError> {
    let path = Path::Field(&node.path, "image_url");
    let image = fields.get(&node.path, "image_url").ok_or_else(|| path.missing("an object with a url"))?;
    let (url, detail) = if image.is_string() {
        (image, None)
    } else {
        let fields = image.object("an object with a url")?;
        let url = fields.get(&path, "url");
        let url = url.ok_or_else(|| Path::Field(&path, "url").missing("a data URL"))?;
        let detail = fields.get(&path, "detail").map(|detail| detail.string()).transpose()?;
        return read_image(&url, detail);
    };
    read_image(&url, detail)
}

fn read_image(url: &Node<'_, '_>, detail: Option<Cow<'_, str>>) -> Result<Image, RequestError> {
    let image = Image::from_data_url(&url.string()?).map_err(|wrong| {
        let param = url.path.to_string();
        RequestError {
            message: format!("invalid {param}: {wrong}"),
            param: Some(param),
            code: "invalid_image_url",
        }
    })?;
    Ok(Image { detail: detail.map(Cow::into_owned), ..image })
}

fn assistant(fields: &Fields<'_>, node: &Node<'_, '_>, index: usize) -> Result<Vec<Part>, RequestError> {
    let get = |name| fields.get(&node.path, name);
    if let Some(audio) = get("audio") {
        return Err(audio.path.error(
            "unsupported_parameter",
            "unsupported",
            "no audio, got an earlier answer",
        ));
    }
    let mut parts = Vec::new();
    // What servers add to their answers comes back from clients. It is no field of OpenAI's, so it may be anything.
    let reasoning = ["reasoning_content", "reasoning"].into_iter().filter_map(get);
    let texts = reasoning.filter(Node::is_string).filter_map(|node| node.string().ok());
    if let Some(text) = texts.into_iter().find(|text| !text.is_empty()) {
        parts.push(Part::Reasoning(Reasoning { text: text.into_owned(), ..Reasoning::default() }));
    }
    parts.extend(content(fields, node, Allowed::TextAndRefusals)?.unwrap_or_default());
    if let Some(refusal) = get("refusal") {
        let refusal = refusal.string()?;
        if !refusal.is_empty() {
            parts.push(Part::Text(refusal.into_owned()));
        }
    }
    if let Some(calls) = get("tool_calls") {
        for (index, raw) in calls.array("an array of calls")?.into_iter().enumerate() {
            parts.push(Part::ToolCall(tool_call(&calls.element(index, raw))?));
        }
    }
    if let Some(call) = get("function_call") {
        // It has no id.
        parts.push(Part::ToolCall(function(&call, format!("call_{index}"))?));
    }
    // A client that has got no text sends an empty one.
    if parts.len() > 1 {
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
    }
    Ok(parts)
}

fn tool_call(node: &Node<'_, '_>) -> Result<ToolCall, RequestError> {
    let fields = node.object("an object")?;
    if let Some(kind) = fields.get(&node.path, "type")
        && kind.string()? != "function"
    {
        return Err(kind.unsupported("function"));
    }
    let id = fields.get(&node.path, "id");
    let id = id.ok_or_else(|| Path::Field(&node.path, "id").missing("the id of the call"))?.string()?;
    let function_path = Path::Field(&node.path, "function");
    let called = fields.get(&node.path, "function").ok_or_else(|| function_path.missing("an object"))?;
    function(&called, id.into_owned())
}

fn function(node: &Node<'_, '_>, id: String) -> Result<ToolCall, RequestError> {
    let fields = node.object("an object")?;
    let name = fields.get(&node.path, "name");
    let name = name.ok_or_else(|| Path::Field(&node.path, "name").missing("the name of the function"))?;
    let arguments = fields
        .get(&node.path, "arguments")
        .map(|node| if node.is_string() { node.string() } else { Err(node.wrong_type("a string of JSON")) });
    Ok(ToolCall {
        id,
        name: name.string()?.into_owned(),
        arguments: arguments.transpose()?.unwrap_or_default().into_owned(),
    })
}
