//! Tools: which ones are offered to the model, and under which names.

use crate::RequestError;
use crate::field;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use tithe_chat::{Tool, ToolChoice};

/// The tools of a request: what the model calls them, and what the client calls them.
///
/// Models know functions with plain names. A client of this API may also have *custom* tools, which take plain text, and *namespaces* of
/// tools; Codex has both. Both become functions for the model, and a call is given back to the client in its own words.
#[derive(Debug, Clone, Default)]
pub struct ToolNames {
    names: Vec<ToolName>,
    /// By what the model calls them.
    by_flat: HashMap<String, usize>,
    /// By what the client calls them: the namespace, if any, a NUL, and the name.
    by_own: HashMap<String, usize>,
    /// Those in namespaces by their name alone; `None` if several have it. Some models leave the namespace out.
    by_bare: HashMap<String, Option<usize>>,
}

#[derive(Debug, Clone)]
struct ToolName {
    flat: String,
    name: String,
    namespace: Option<String>,
    kind: ToolKind,
}

/// What a tool is to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToolKind {
    Function,
    Custom,
    /// The search for further tools, where the client itself searches.
    Search,
}

/// What a client calls a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnName<'a> {
    pub(crate) name: &'a str,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) kind: ToolKind,
}

/// The longest name of a function that all backends take.
const NAME_MAX: usize = 64;

/// The most tools in a request. (OpenAI takes 128.)
const TOOLS_MAX: usize = 1024;

impl ToolNames {
    /// What the client calls the tool that the model calls `flat`.
    pub(crate) fn own<'a>(&'a self, flat: &'a str) -> OwnName<'a> {
        let place = self.by_flat.get(flat).or_else(|| self.by_bare.get(flat)?.as_ref());
        match place.and_then(|place| self.names.get(*place)) {
            Some(tool) => OwnName { name: &tool.name, namespace: tool.namespace.as_deref(), kind: tool.kind },
            None => OwnName { name: flat, namespace: None, kind: ToolKind::Function },
        }
    }

    /// What the model calls the tool that the client calls so.
    pub(crate) fn flat(&self, namespace: Option<&str>, name: &str) -> String {
        self.find(namespace, name).map_or_else(|| flatten(namespace, name).into_owned(), str::to_owned)
    }

    fn find(&self, namespace: Option<&str>, name: &str) -> Option<&str> {
        let place = self.by_own.get(&own_key(namespace, name))?;
        self.names.get(*place).map(|tool| tool.flat.as_str())
    }

    /// Adds a tool; `None` if it is there already.
    fn add(&mut self, namespace: Option<&str>, name: &str, kind: ToolKind) -> Option<String> {
        let key = own_key(namespace, name);
        if self.by_own.contains_key(&key) {
            return None;
        }
        let base = flatten(namespace, name);
        let mut flat = base.clone().into_owned();
        let mut number = 2;
        while self.by_flat.contains_key(&flat) {
            flat = joined_and_short(&base, &format!("_{number}"));
            number += 1;
        }
        let place = self.names.len();
        self.by_flat.insert(flat.clone(), place);
        self.by_own.insert(key, place);
        if namespace.is_some() {
            self.by_bare.entry(name.to_owned()).and_modify(|place| *place = None).or_insert(Some(place));
        }
        self.names.push(ToolName {
            flat: flat.clone(),
            name: name.to_owned(),
            namespace: namespace.map(str::to_owned),
            kind,
        });
        Some(flat)
    }
}

fn own_key(namespace: Option<&str>, name: &str) -> String {
    // OpenAI's own models call the functions without a namespace so.
    match namespace.filter(|namespace| !namespace.is_empty()) {
        Some(namespace) => format!("{namespace}\0{name}"),
        None => format!("\0{name}"),
    }
}

/// The name of a function in a namespace, for models: all backends take letters, digits, `_` and `-`.
fn flatten<'a>(namespace: Option<&str>, name: &'a str) -> Cow<'a, str> {
    let Some(namespace) = namespace.filter(|namespace| !namespace.is_empty()) else {
        return Cow::Borrowed(name);
    };
    let separator = if namespace.ends_with("__") { "" } else { "__" };
    let joined: String = [namespace, separator, name]
        .into_iter()
        .flat_map(str::chars)
        .map(|char| if char.is_ascii_alphanumeric() || char == '-' { char } else { '_' })
        .collect();
    // The end of a name says more than its beginning.
    let start = joined.len().saturating_sub(NAME_MAX);
    Cow::Owned(joined.get(start..).unwrap_or_default().to_owned())
}

fn joined_and_short(base: &str, suffix: &str) -> String {
    let mut short: String = base.chars().take(NAME_MAX.saturating_sub(suffix.len())).collect();
    short.push_str(suffix);
    short
}

/// The tools of a request as they are collected: from `tools`, and from items of the input.
#[derive(Debug, Default)]
pub(crate) struct Tools<'a> {
    pub(crate) names: ToolNames,
    pub(crate) offered: Vec<Tool>,
    /// Those of `tools` that are offered, as the client wrote them.
    pub(crate) echo: Vec<&'a RawValue>,
    /// A type of tool that is left out.
    left_out: Option<String>,
}

#[derive(Deserialize)]
struct RawTool<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    description: Option<&'a RawValue>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    strict: Option<&'a RawValue>,
    #[serde(borrow)]
    format: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    execution: Option<&'a RawValue>,
}

/// What the search for tools is called.
pub(crate) const TOOL_SEARCH: &str = "tool_search";

const TOOL_KINDS: &str =
    "function, custom or namespace (tools that the server would have to run are not offered)";

impl<'a> Tools<'a> {
    /// Reads an array of tools that an item brings: they are not part of `tools` in the response. Returns the names of those that are
    /// new, for the model.
    pub(crate) fn read_more(
        &mut self,
        value: &'a RawValue,
        param: &str,
    ) -> Result<Vec<String>, RequestError> {
        let before = self.offered.len();
        for (at, tool) in field::items(value, param)?.into_iter().enumerate() {
            self.read_one(tool, &format!("{param}[{at}]"), None)?;
        }
        Ok(self.offered.iter().skip(before).map(|tool| tool.name.clone()).collect())
    }

    /// Reads `tools`.
    pub(crate) fn read(&mut self, value: &'a RawValue, param: &str) -> Result<(), RequestError> {
        for (at, tool) in field::items(value, param)?.into_iter().enumerate() {
            if self.read_one(tool, &format!("{param}[{at}]"), None)? {
                self.echo.push(tool);
            }
        }
        Ok(())
    }

    /// Reads a tool. Returns whether it is offered.
    fn read_one(
        &mut self,
        value: &'a RawValue,
        param: &str,
        namespace: Option<&str>,
    ) -> Result<bool, RequestError> {
        if self.names.names.len() >= TOOLS_MAX {
            return Err(RequestError::value(param, &format!("at most {TOOLS_MAX} tools"), "more"));
        }
        let tool: RawTool<'a> = field::object(value, param)?;
        let kind_param = format!("{param}.type");
        let kind = field::text(tool.kind, &kind_param)?;
        match (kind.as_str(), namespace) {
            ("function", _) => self.read_function(&tool, param, namespace)?,
            ("custom", _) => self.read_custom(&tool, param, namespace)?,
            ("namespace", None) => {
                let name = field::name(tool.name, &format!("{param}.name"))?;
                let tools_param = format!("{param}.tools");
                let tools =
                    tool.tools.ok_or_else(|| RequestError::missing(&tools_param, "an array of tools"))?;
                for (at, tool) in field::items(tools, &tools_param)?.into_iter().enumerate() {
                    self.read_one(tool, &format!("{tools_param}[{at}]"), Some(&name))?;
                }
            }
            (TOOL_SEARCH, None) if tool.execution.is_some_and(|by| by.get() == "\"client\"") => {
                self.read_schema(&tool, param, TOOL_SEARCH, None, ToolKind::Search)?;
            }
            (kind, _) if is_left_out(kind) => {
                self.left_out = Some(kind.to_owned());
                return Ok(false);
            }
            (kind, _) => return Err(RequestError::unsupported(&kind_param, TOOL_KINDS, kind)),
        }
        Ok(true)
    }

    fn read_function(
        &mut self,
        tool: &RawTool<'a>,
        param: &str,
        namespace: Option<&str>,
    ) -> Result<(), RequestError> {
        let name = field::name(tool.name, &format!("{param}.name"))?;
        self.read_schema(tool, param, &name, namespace, ToolKind::Function)
    }

    /// Reads a tool whose arguments have a schema.
    fn read_schema(
        &mut self,
        tool: &RawTool<'a>,
        param: &str,
        name: &str,
        namespace: Option<&str>,
        kind: ToolKind,
    ) -> Result<(), RequestError> {
        let description = field::optional_text(tool.description, &format!("{param}.description"))?;
        let parameters = field::present(tool.parameters);
        if let Some(parameters) = parameters.filter(|parameters| !field::is_object(parameters)) {
            let param = format!("{param}.parameters");
            return Err(RequestError::kind(&param, "a JSON schema, an object", field::kind(parameters)));
        }
        let strict = field::present(tool.strict)
            .map(|strict| field::read(strict, &format!("{param}.strict"), "a boolean"))
            .transpose()?;
        if let Some(name) = self.names.add(namespace, name, kind) {
            self.offered.push(Tool {
                name,
                description,
                parameters: parameters.map(ToOwned::to_owned),
                strict,
            });
        }
        Ok(())
    }

    fn read_custom(
        &mut self,
        tool: &RawTool<'a>,
        param: &str,
        namespace: Option<&str>,
    ) -> Result<(), RequestError> {
        #[derive(Deserialize)]
        struct Format<'a> {
            syntax: Option<Cow<'a, str>>,
            definition: Option<Cow<'a, str>>,
        }
        let name = field::name(tool.name, &format!("{param}.name"))?;
        let mut description =
            field::optional_text(tool.description, &format!("{param}.description"))?.unwrap_or_default();
        if !description.is_empty() {
            description.push_str("\n\n");
        }
        description.push_str("This function takes plain text: pass all of it in the argument `input`.");
        if let Some(format) = field::present(tool.format) {
            let format: Format<'_> = field::object(format, &format!("{param}.format"))?;
            if let Some(definition) = format.definition {
                let syntax = format.syntax.unwrap_or_default();
                description.push_str("\n\nThe text must match this grammar");
                if !syntax.is_empty() {
                    description.push_str(" (");
                    description.push_str(&syntax);
                    description.push(')');
                }
                description.push_str(":\n");
                description.push_str(&definition);
            }
        }
        if let Some(name) = self.names.add(namespace, &name, ToolKind::Custom) {
            let parameters = custom_parameters();
            self.offered.push(Tool { name, description: Some(description), parameters, strict: None });
        }
        Ok(())
    }

    /// Reads `tool_choice`. A choice among some tools removes the others.
    pub(crate) fn choice(&mut self, value: Option<&RawValue>) -> Result<ToolChoice, RequestError> {
        #[derive(Deserialize)]
        struct RawChoice<'a> {
            #[serde(borrow, rename = "type")]
            kind: Option<&'a RawValue>,
            #[serde(borrow)]
            name: Option<&'a RawValue>,
            #[serde(borrow)]
            namespace: Option<&'a RawValue>,
            #[serde(borrow)]
            mode: Option<&'a RawValue>,
            #[serde(borrow)]
            tools: Option<&'a RawValue>,
        }
        const PARAM: &str = "tool_choice";
        let Some(value) = field::present(value) else { return Ok(ToolChoice::Auto) };
        if field::is_string(value) {
            return self.mode(&field::text(Some(value), PARAM)?, PARAM);
        }
        let choice: RawChoice<'_> = field::object(value, PARAM)?;
        match field::text(choice.kind, "tool_choice.type")?.as_str() {
            "function" | "custom" => self.named(choice.name, choice.namespace, PARAM).map(ToolChoice::Named),
            "allowed_tools" => {
                let mode = field::optional_text(choice.mode, "tool_choice.mode")?;
                let tools = choice
                    .tools
                    .ok_or_else(|| RequestError::missing("tool_choice.tools", "an array of tools"))?;
                let mut allowed = HashSet::new();
                for (at, tool) in field::items(tools, "tool_choice.tools")?.into_iter().enumerate() {
                    let param = format!("tool_choice.tools[{at}]");
                    let tool: RawChoice<'_> = field::object(tool, &param)?;
                    let kind = field::text(tool.kind, &format!("{param}.type"))?;
                    if is_left_out(&kind) {
                        continue;
                    }
                    allowed.insert(self.named(tool.name, tool.namespace, &param)?);
                }
                self.offered.retain(|tool| allowed.contains(&tool.name));
                self.mode(mode.as_deref().unwrap_or("auto"), "tool_choice.mode")
            }
            other => {
                Err(RequestError::unsupported("tool_choice.type", "function, custom or allowed_tools", other))
            }
        }
    }

    fn mode(&self, mode: &str, param: &str) -> Result<ToolChoice, RequestError> {
        match mode {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => match &self.left_out {
                Some(kind) if self.offered.is_empty() => {
                    Err(RequestError::unsupported(param, "a tool that the client runs, to be called", kind))
                }
                _ => Ok(ToolChoice::Required),
            },
            other => Err(RequestError::value(param, "auto, none, required or an object", other)),
        }
    }

    fn named(
        &self,
        name: Option<&RawValue>,
        namespace: Option<&RawValue>,
        param: &str,
    ) -> Result<String, RequestError> {
        let name_param = format!("{param}.name");
        let name = field::name(name, &name_param)?;
        let namespace = field::optional_text(namespace, &format!("{param}.namespace"))?;
        let flat = self.names.find(namespace.as_deref(), &name);
        flat.map(str::to_owned)
            .ok_or_else(|| RequestError::value(&name_param, "the name of one of the tools", &name))
    }
}

/// Whether a type of tool is left out instead of refused.
///
/// The server would have to run these, and does not. Codex sends `web_search`, and where it takes the model for able also
/// `image_generation`, with every request, whether the user wants them or not, and a provider that refuses them cannot
/// be used from Codex at all. A tool is only an offer to the model, so that leaving it out breaks no promise; the tools in the response
/// do not name it. Where the client insists (`tool_choice`), the request is refused.
fn is_left_out(kind: &str) -> bool {
    kind.starts_with("web_search") || matches!(kind, "image_generation" | TOOL_SEARCH)
}

fn custom_parameters() -> Option<Box<RawValue>> {
    #[derive(serde::Serialize)]
    struct Text {
        r#type: &'static str,
    }
    #[derive(serde::Serialize)]
    struct Properties {
        input: Text,
    }
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Parameters {
        r#type: &'static str,
        properties: Properties,
        required: [&'static str; 1],
        additional_properties: bool,
    }
    let parameters = Parameters {
        r#type: "object",
        properties: Properties { input: Text { r#type: "string" } },
        required: ["input"],
        additional_properties: false,
    };
    to_raw_value(&parameters).ok()
}
