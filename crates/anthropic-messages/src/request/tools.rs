//! Tools, and which of them the model may call.

use super::error::{RequestError, excerpt};
use super::fields::read;
use serde::Deserialize;
use serde_json::value::RawValue;
use tithe_chat::{Tool, ToolChoice};

#[derive(Deserialize)]
struct WireTool<'a> {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
    description: Option<String>,
    #[serde(borrow)]
    input_schema: Option<&'a RawValue>,
    strict: Option<bool>,
}

/// The tools of a request.
#[derive(Debug, Default)]
pub(super) struct Tools {
    pub(super) functions: Vec<Tool>,
    /// The types of the tools whose schema only Anthropic's backends know.
    pub(super) defined_by_anthropic: Vec<String>,
}

/// What Anthropic defines and the client runs: the backend knows the schema by the type, such as `bash_20250124`.
const DEFINED_BY_ANTHROPIC: [&str; 7] = [
    "bash_",
    "text_editor_",
    "computer_",
    "computer_toolset_",
    "browser_toolset_",
    "memory_",
    "str_replace_",
];

pub(super) fn tools(value: &RawValue) -> Result<Tools, RequestError> {
    let values: Vec<&RawValue> = read(value, "tools", "an array of tools")?;
    let mut tools = Tools::default();
    for (index, value) in values.into_iter().enumerate() {
        let param = format!("tools.{index}");
        let tool: WireTool<'_> = serde_json::from_str(value.get())
            .map_err(|reason| RequestError::invalid(&param, format!("expected a tool, got {reason}")))?;
        let kind = tool.kind.unwrap_or_default();
        let is_custom = matches!(kind.as_str(), "" | "custom");
        let is_defined = DEFINED_BY_ANTHROPIC.iter().any(|family| kind.starts_with(family));
        if !is_custom && !is_defined {
            let what = format!("a tool of type {:?}, which the backend runs,", excerpt(&kind));
            return Err(RequestError::unsupported(format!("{param}.type"), &what));
        }
        let name = match tool.name {
            Some(name) if !name.is_empty() => name,
            // A set of tools has no name.
            _ if is_defined => kind.clone(),
            _ => return Err(RequestError::missing(format!("{param}.name"))),
        };
        if is_defined {
            tools.defined_by_anthropic.push(kind);
            // The definition, so that it is counted in place of the schema.
            let description = Some(value.get().to_owned());
            tools.functions.push(Tool { name, description, parameters: None, strict: None });
            continue;
        }
        let schema_param = format!("{param}.input_schema");
        let schema = tool.input_schema.ok_or_else(|| RequestError::missing(&schema_param))?;
        if !schema.get().starts_with('{') {
            return Err(RequestError::expected(schema_param, "a JSON schema", schema));
        }
        tools.functions.push(Tool {
            name,
            description: tool.description,
            parameters: Some(schema.to_owned()),
            strict: tool.strict,
        });
    }
    Ok(tools)
}

#[derive(Deserialize)]
struct WireChoice {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
    disable_parallel_tool_use: Option<bool>,
}

/// The choice, and whether several calls at once are allowed, if that is said.
pub(super) fn choice(value: &RawValue) -> Result<(ToolChoice, Option<bool>), RequestError> {
    let choice: WireChoice = read(value, "tool_choice", "an object with a type")?;
    let parallel = choice.disable_parallel_tool_use.map(|disabled| !disabled);
    let tool_choice = match choice.kind.as_deref() {
        Some("auto") => ToolChoice::Auto,
        Some("any") => ToolChoice::Required,
        Some("none") => ToolChoice::None,
        Some("tool") => {
            ToolChoice::Named(choice.name.ok_or_else(|| RequestError::missing("tool_choice.name"))?)
        }
        Some(_) => {
            let expected = "a type of \"auto\", \"any\", \"tool\" or \"none\"";
            return Err(RequestError::expected("tool_choice", expected, value));
        }
        None => return Err(RequestError::missing("tool_choice.type")),
    };
    Ok((tool_choice, parallel))
}
