//! Requests of clients: `POST /v1/chat/completions`.

mod messages;
mod tools;

use crate::json::{Fields, Node, Path};
use crate::request_error::RequestError;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use tithe_chat::{Api, Chat, Effort, Original, ReplyFormat, Sampling, Schema};

/// A request of a client.
#[derive(Debug, Clone)]
pub struct ChatCompletionRequest {
    /// The model, as the client calls it.
    pub model: String,
    /// What is asked for. Its `original` is the whole body.
    pub chat: Chat,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether the stream is to end with a report of usage.
    pub include_usage: bool,
}

impl ChatCompletionRequest {
    /// Reads a body. Fields that are not known are kept in [`Chat::original`], whatever they are.
    ///
    /// # Errors
    /// [`RequestError`] if the body is no JSON object, if a field that is known is not what it should be, and for what cannot be
    /// priced: tools that the backend runs, audio, files, remote images, and more than one answer.
    pub fn decode(body: &[u8]) -> Result<Self, RequestError> {
        let fields = Fields::of_body(body)?;
        let top = Top(&fields);
        top.refuse_what_has_no_price()?;
        let model = top.model()?;
        let messages = top.get("messages").ok_or_else(|| MESSAGES.missing("an array of messages"))?;
        let (tools, tool_choice) = (tools::tools(top.get("tools"))?, top.get("tool_choice"));
        let chat = Chat {
            messages: messages::messages(&messages)?,
            tool_choice: tools::choice(tool_choice, &tools)?,
            tools,
            parallel_tool_calls: top.boolean("parallel_tool_calls")?,
            format: top.get("response_format").map(|node| format(&node)).transpose()?.unwrap_or_default(),
            effort: top.get("reasoning_effort").map(|node| effort(&node)).transpose()?.flatten(),
            max_output_tokens: top.max_output_tokens()?,
            sampling: top.sampling()?,
            original: None,
        };
        Ok(Self {
            stream: top.boolean("stream")?.unwrap_or(false),
            include_usage: top.include_usage()?,
            chat: Chat { original: Some(original(&fields)?), ..chat },
            model,
        })
    }
}

const MESSAGES: Path<'_> = Path::Field(&Path::Body, "messages");

/// What backends add to an answer at a price of its own, and the name under which a client asks for it.
const HOSTED: [&str; 3] = ["web_search_options", "search_parameters", "plugins"];

/// The fields of the body.
pub(crate) struct Top<'a, 'b>(pub(crate) &'b Fields<'a>);

impl<'a> Top<'a, '_> {
    pub(crate) fn get(&self, name: &'static str) -> Option<Node<'a, 'static>> {
        self.0.get(&Path::Body, name)
    }

    fn boolean(&self, name: &'static str) -> Result<Option<bool>, RequestError> {
        self.get(name).map(|node| node.boolean()).transpose()
    }

    pub(crate) fn model(&self) -> Result<String, RequestError> {
        const PATH: Path<'_> = Path::Field(&Path::Body, "model");
        let model = self.get("model").ok_or_else(|| PATH.missing("the name of a model"))?;
        let name = model.string()?;
        if name.is_empty() {
            return Err(model.wrong_value("the name of a model"));
        }
        Ok(name.into_owned())
    }

    fn refuse_what_has_no_price(&self) -> Result<(), RequestError> {
        for name in HOSTED {
            if let Some(node) = self.get(name).filter(|node| !matches!(node.raw.get(), "[]" | "false")) {
                return Err(node.path.error(
                    "unsupported_parameter",
                    "unsupported",
                    "no search or plugin of the backend's, which has no price here",
                ));
            }
        }
        if let Some(audio) = self.get("audio") {
            return Err(audio.path.error("unsupported_parameter", "unsupported", "no audio, got a voice"));
        }
        if let Some(modalities) = self.get("modalities") {
            for (index, raw) in modalities.array("an array of strings")?.into_iter().enumerate() {
                let modality = modalities.element(index, raw);
                if modality.string()? != "text" {
                    return Err(modality.unsupported("text"));
                }
            }
        }
        if let Some(functions) = self.get("functions").filter(|node| node.raw.get() != "[]") {
            return Err(functions.path.error(
                "unsupported_parameter",
                "unsupported",
                "tools and tool_choice, got the functions that they replace",
            ));
        }
        match self.get("n").map(|n| n.positive().map(|number| (n, number))).transpose()? {
            Some((n, 2..)) => Err(n.unsupported("1 answer to a request")),
            _ => Ok(()),
        }
    }

    fn max_output_tokens(&self) -> Result<Option<u64>, RequestError> {
        let limit = |name| self.get(name).map(|node| node.positive()).transpose();
        let (newer, older) = (limit("max_completion_tokens")?, limit("max_tokens")?);
        Ok(newer.or(older))
    }

    fn sampling(&self) -> Result<Sampling, RequestError> {
        let number = |name, max: f64, expected| {
            let Some(node) = self.get(name) else { return Ok(None) };
            let number = node.number()?;
            if (0.0..=max).contains(&number) { Ok(Some(number)) } else { Err(node.wrong_value(expected)) }
        };
        let stop = match self.get("stop") {
            Some(stop) if stop.is_array() => {
                let mut texts = Vec::new();
                for (index, raw) in stop.array("a string or an array of strings")?.into_iter().enumerate() {
                    texts.push(stop.element(index, raw).string()?.into_owned());
                }
                texts
            }
            Some(stop) if stop.is_string() => vec![stop.string()?.into_owned()],
            Some(stop) => return Err(stop.wrong_type("a string or an array of strings")),
            None => Vec::new(),
        };
        Ok(Sampling {
            temperature: number("temperature", 2.0, "a number from 0 to 2")?,
            top_p: number("top_p", 1.0, "a number from 0 to 1")?,
            stop,
        })
    }

    fn include_usage(&self) -> Result<bool, RequestError> {
        let Some(options) = self.get("stream_options") else { return Ok(false) };
        let fields = options.object("an object")?;
        let include = fields.get(&options.path, "include_usage").map(|node| node.boolean()).transpose()?;
        Ok(include.unwrap_or(false))
    }
}

/// The body as it was sent, each name once.
fn original(fields: &Fields<'_>) -> Result<Original, RequestError> {
    Ok(Original { api: Api::OpenAiChat, body: owned(fields)?, headers: Vec::new(), own_tools: Vec::new() })
}

/// The fields of a body, each name once, with its last value.
pub(crate) fn owned(fields: &Fields<'_>) -> Result<Vec<(String, Box<RawValue>)>, RequestError> {
    let mut last: HashMap<&str, usize> = HashMap::with_capacity(fields.0.len());
    let mut kept: Vec<(&Cow<'_, str>, &RawValue)> = Vec::with_capacity(fields.0.len());
    for (name, raw) in &fields.0 {
        match last.entry(name) {
            Entry::Occupied(entry) => {
                if let Some((_, value)) = kept.get_mut(*entry.get()) {
                    *value = raw;
                }
            }
            Entry::Vacant(entry) => {
                entry.insert(kept.len());
                kept.push((name, raw));
            }
        }
    }
    let mut body = Vec::with_capacity(kept.len());
    for (name, raw) in kept {
        // Messages can be large, and have been read; of the rest, nobody knows yet what it is.
        if name != "messages" {
            Node { path: Path::Field(&Path::Body, name), raw }.shallow()?;
        }
        body.push((name.clone().into_owned(), raw.to_owned()));
    }
    Ok(body)
}

fn effort(node: &Node<'_, '_>) -> Result<Option<Effort>, RequestError> {
    Ok(Some(match node.string()?.as_ref() {
        "none" => Effort::None,
        "minimal" => Effort::Minimal,
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" | "max" => Effort::Max,
        // Some servers call it so to leave it to them.
        "default" | "auto" => return Ok(None),
        _ => return Err(node.wrong_value("none, minimal, low, medium, high, xhigh or max")),
    }))
}

fn format(node: &Node<'_, '_>) -> Result<ReplyFormat, RequestError> {
    let fields = node.object("an object")?;
    let kind_path = Path::Field(&node.path, "type");
    let expected = "text, json_object or json_schema";
    let kind = fields.get(&node.path, "type").ok_or_else(|| kind_path.missing(expected))?;
    match kind.string()?.as_ref() {
        "text" => Ok(ReplyFormat::Text),
        "json_object" => Ok(ReplyFormat::Json),
        "json_schema" => {
            let path = Path::Field(&node.path, "json_schema");
            let schema = fields.get(&node.path, "json_schema");
            json_schema(&schema.ok_or_else(|| path.missing("an object"))?).map(ReplyFormat::Schema)
        }
        _ => Err(kind.wrong_value(expected)),
    }
}

fn json_schema(node: &Node<'_, '_>) -> Result<Schema, RequestError> {
    let fields = node.object("an object")?;
    let get = |name| fields.get(&node.path, name);
    let name = get("name").ok_or_else(|| Path::Field(&node.path, "name").missing("a name"))?;
    let schema = get("schema").map(|schema| schema.schema()).transpose()?;
    Ok(Schema {
        name: name.string()?.into_owned(),
        description: get("description").map(|text| text.string()).transpose()?.map(Cow::into_owned),
        schema: schema.unwrap_or_else(any_object),
        strict: get("strict").map(|strict| strict.boolean()).transpose()?,
    })
}

/// The schema that any object fits.
fn any_object() -> Box<RawValue> {
    #[expect(clippy::expect_used, reason = "a literal object is valid JSON")]
    RawValue::from_string(r#"{"type":"object"}"#.to_owned()).expect("valid JSON")
}

#[cfg(test)]
mod tests;
