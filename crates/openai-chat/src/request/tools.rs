//! The functions that a model may call.

use crate::json::{Node, Path};
use crate::request_error::RequestError;
use std::borrow::Cow;
use tithe_chat::{Tool, ToolChoice};

/// The longest name of a function, in characters.
const NAME_CHARS_MAX: usize = 64;

pub(super) fn tools(tools: Option<Node<'_, '_>>) -> Result<Vec<Tool>, RequestError> {
    let Some(tools) = tools else { return Ok(Vec::new()) };
    let elements = tools.array("an array of tools")?;
    let read = |(index, raw)| tool(&tools.element(index, raw));
    elements.into_iter().enumerate().map(read).collect()
}

fn tool(tool: &Node<'_, '_>) -> Result<Tool, RequestError> {
    let fields = tool.object("an object")?;
    let kind = fields.get(&tool.path, "type");
    if let Some(kind) = kind
        && kind.string()? != "function"
    {
        return Err(kind.unsupported("function, which the client runs"));
    }
    let path = Path::Field(&tool.path, "function");
    let function = fields.get(&tool.path, "function").ok_or_else(|| path.missing("an object"))?;
    let fields = function.object("an object")?;
    let get = |name| fields.get(&path, name);
    Ok(Tool {
        name: name(&get("name").ok_or_else(|| Path::Field(&path, "name").missing("a name"))?)?,
        description: get("description").map(|text| text.string()).transpose()?.map(Cow::into_owned),
        parameters: get("parameters").map(|schema| schema.schema()).transpose()?,
        strict: get("strict").map(|strict| strict.boolean()).transpose()?,
    })
}

/// The name of a function, or of a schema.
pub(super) fn name(node: &Node<'_, '_>) -> Result<String, RequestError> {
    let name = node.string()?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.bytes().all(is_name) {
        return Err(node.wrong_value("1 to 64 letters, digits, underscores and dashes"));
    }
    Ok(name.into_owned())
}

pub(super) fn choice(choice: Option<Node<'_, '_>>, tools: &[Tool]) -> Result<ToolChoice, RequestError> {
    const EXPECTED: &str = "none, auto, required, or an object that names a function";
    let Some(choice) = choice else { return Ok(ToolChoice::Auto) };
    if choice.is_string() {
        return by_name(&choice, EXPECTED);
    }
    let fields = choice.object(EXPECTED)?;
    let kind_path = Path::Field(&choice.path, "type");
    let kind = fields.get(&choice.path, "type").ok_or_else(|| kind_path.missing("function"))?;
    match kind.string()?.as_ref() {
        "function" => {
            let path = Path::Field(&choice.path, "function");
            let function = fields.get(&choice.path, "function").ok_or_else(|| path.missing("an object"))?;
            let function = function.object("an object")?;
            let name = function.get(&path, "name");
            let name = name.ok_or_else(|| Path::Field(&path, "name").missing("the name of a tool"))?;
            let text = name.string()?;
            if !tools.iter().any(|tool| tool.name == text) {
                return Err(name.wrong_value("the name of one of the tools"));
            }
            Ok(ToolChoice::Named(text.into_owned()))
        }
        // Backends of this API get the list of those that are allowed; the others only whether one must be called.
        "allowed_tools" => {
            let path = Path::Field(&choice.path, "allowed_tools");
            let allowed =
                fields.get(&choice.path, "allowed_tools").ok_or_else(|| path.missing("an object"))?;
            let mode = allowed.object("an object")?.get(&path, "mode");
            mode.map_or(Ok(ToolChoice::Auto), |mode| by_name(&mode, "auto or required"))
        }
        _ => Err(kind.unsupported("function or allowed_tools")),
    }
}

fn by_name(node: &Node<'_, '_>, expected: &str) -> Result<ToolChoice, RequestError> {
    match node.string()?.as_ref() {
        "none" => Ok(ToolChoice::None),
        "auto" => Ok(ToolChoice::Auto),
        // Mistral's name for it.
        "required" | "any" => Ok(ToolChoice::Required),
        _ => Err(node.wrong_value(expected)),
    }
}
