//! Requests.

use crate::echo::Echo;
use crate::tools::{ToolNames, Tools};
use crate::{RequestError, field, items};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use tithe_chat::{Api, Chat, Effort, Message, Original, ReplyFormat, Role, Sampling, Schema};

/// A request: the body of `POST /v1/responses`.
#[derive(Debug, Clone)]
pub struct ResponsesRequest {
    /// The model, by the client's name for it.
    pub model: String,
    /// What is asked for.
    pub chat: Chat,
    /// Whether the answer is sent as it is generated.
    pub stream: bool,
    pub(crate) names: Arc<ToolNames>,
    pub(crate) echo: Arc<Echo>,
}

impl ResponsesRequest {
    /// Reads a body.
    ///
    /// Unknown fields are ignored; they stay in [`Chat::original`]. What is refused is what the server cannot do or cannot price: stored
    /// state (`previous_response_id`, `conversation`, `prompt`, references to items and files), `background`, remote images, files,
    /// audio, and tools that the server would have to run. Of those, `web_search`, `image_generation` and a `tool_search` by the server are left out
    /// instead, because Codex sends them with every request; they are refused where `tool_choice` demands them.
    ///
    /// # Errors
    /// [`RequestError`], which names the field.
    pub fn decode(body: &[u8]) -> Result<Self, RequestError> {
        let body = fields(body)?;
        let original =
            Original { api: Api::OpenAiResponses, body, headers: Vec::new(), own_tools: Vec::new() };
        refuse_state(&original)?;
        let model = field::name(original.field("model"), "model")?;
        let stream = boolean(&original, "stream")?.unwrap_or(false);
        let mut chat = Chat {
            parallel_tool_calls: boolean(&original, "parallel_tool_calls")?,
            format: format(&original)?,
            effort: effort(&original)?,
            max_output_tokens: max_output_tokens(&original)?,
            sampling: Sampling {
                temperature: number(&original, "temperature", 2.0)?,
                top_p: number(&original, "top_p", 1.0)?,
                stop: Vec::new(),
            },
            ..Chat::default()
        };
        let mut tools = Tools::default();
        if let Some(value) = field::present(original.field("tools")) {
            tools.read(value, "tools")?;
        }
        messages(&original, &mut tools, &mut chat.messages)?;
        chat.tool_choice = tools.choice(original.field("tool_choice"))?;
        let echo = Echo::new(&original, &tools);
        let Tools { names, offered, .. } = tools;
        chat.tools = offered;
        chat.original = Some(original);
        Ok(Self { model, chat, stream, names: Arc::new(names), echo: Arc::new(echo) })
    }
}

/// The fields of the body, in order, each with its last value.
fn fields(body: &[u8]) -> Result<Vec<(String, Box<RawValue>)>, RequestError> {
    struct Fields(Vec<(String, Box<RawValue>)>);

    struct FieldsVisitor;

    impl<'de> Visitor<'de> for FieldsVisitor {
        type Value = Fields;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
            let mut fields: Vec<(String, Box<RawValue>)> = Vec::new();
            let mut places: HashMap<String, usize> = HashMap::new();
            while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                if let Some(field) = places.get(&name).and_then(|place| fields.get_mut(*place)) {
                    field.1 = value;
                } else {
                    places.insert(name.clone(), fields.len());
                    fields.push((name, value));
                }
            }
            Ok(Fields(fields))
        }
    }

    impl<'de> Deserialize<'de> for Fields {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(FieldsVisitor)
        }
    }

    let fields: Fields =
        serde_json::from_slice(body).map_err(|error| RequestError::body(&error.to_string()))?;
    Ok(fields.0)
}

/// Refuses what needs a server that stores responses.
fn refuse_state(original: &Original) -> Result<(), RequestError> {
    const WHOLE: &str = "the whole conversation in `input`: the server stores no responses";
    let stored = [
        ("previous_response_id", WHOLE),
        ("conversation", WHOLE),
        ("prompt", "the prompt itself in `instructions` and `input`: the server stores no prompts"),
    ];
    for (name, expected) in stored {
        if field::present(original.field(name)).is_some() {
            return Err(RequestError::unsupported_field(name, expected));
        }
    }
    if boolean(original, "background")? == Some(true) {
        return Err(RequestError::unsupported("background", "false: the server stores no responses", "true"));
    }
    Ok(())
}

fn messages<'a>(
    original: &'a Original,
    tools: &mut Tools<'a>,
    messages: &mut Vec<Message>,
) -> Result<(), RequestError> {
    const EXPECTED: &str = "a string or an array of items";
    let instructions = field::optional_text(original.field("instructions"), "instructions")?;
    if let Some(instructions) = instructions.filter(|text| !text.is_empty()) {
        messages.push(Message::text(Role::System, instructions));
    }
    let before = messages.len();
    let input =
        field::present(original.field("input")).ok_or_else(|| RequestError::missing("input", EXPECTED))?;
    if field::is_string(input) {
        let text = field::text(Some(input), "input")?;
        if !text.is_empty() {
            messages.push(Message::text(Role::User, text));
        }
    } else if field::is_array(input) {
        for item in items::read(input, tools)? {
            item.add_to(messages, tools)?;
        }
    } else {
        return Err(RequestError::kind("input", EXPECTED, field::kind(input)));
    }
    if messages.len() == before {
        return Err(RequestError::value("input", "at least one message", "none"));
    }
    Ok(())
}

fn boolean(original: &Original, name: &str) -> Result<Option<bool>, RequestError> {
    field::present(original.field(name)).map(|value| field::read(value, name, "a boolean")).transpose()
}

fn number(original: &Original, name: &str, most: f64) -> Result<Option<f64>, RequestError> {
    let Some(value) = field::present(original.field(name)) else { return Ok(None) };
    let number: f64 = field::read(value, name, "a number")?;
    if !(0.0..=most).contains(&number) {
        return Err(RequestError::value(name, &format!("a number from 0 to {most}"), value.get()));
    }
    Ok(Some(number))
}

fn max_output_tokens(original: &Original) -> Result<Option<u64>, RequestError> {
    const NAME: &str = "max_output_tokens";
    const EXPECTED: &str = "an integer of at least 1";
    let Some(value) = field::present(original.field(NAME)) else { return Ok(None) };
    let tokens: u64 = serde_json::from_str(value.get()).map_err(|_| match field::kind(value) {
        "a number" => RequestError::value(NAME, EXPECTED, value.get()),
        kind => RequestError::kind(NAME, EXPECTED, kind),
    })?;
    if tokens == 0 {
        return Err(RequestError::value(NAME, EXPECTED, value.get()));
    }
    Ok(Some(tokens))
}

/// An effort that is not known is left to the backend: new ones appear with new models.
fn effort(original: &Original) -> Result<Option<Effort>, RequestError> {
    #[derive(Deserialize)]
    struct RawReasoning<'a> {
        #[serde(borrow)]
        effort: Option<&'a RawValue>,
    }
    let Some(value) = field::present(original.field("reasoning")) else { return Ok(None) };
    let reasoning: RawReasoning<'_> = field::object(value, "reasoning")?;
    let effort = field::optional_text(reasoning.effort, "reasoning.effort")?;
    Ok(match effort.as_deref() {
        Some("none") => Some(Effort::None),
        Some("minimal") => Some(Effort::Minimal),
        Some("low") => Some(Effort::Low),
        Some("medium") => Some(Effort::Medium),
        Some("high") => Some(Effort::High),
        Some("xhigh" | "max" | "ultra") => Some(Effort::Max),
        _ => None,
    })
}

fn format(original: &Original) -> Result<ReplyFormat, RequestError> {
    #[derive(Deserialize)]
    struct RawText<'a> {
        #[serde(borrow)]
        format: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct RawFormat<'a> {
        #[serde(borrow, rename = "type")]
        kind: Option<&'a RawValue>,
        #[serde(borrow)]
        name: Option<&'a RawValue>,
        #[serde(borrow)]
        description: Option<&'a RawValue>,
        #[serde(borrow)]
        schema: Option<&'a RawValue>,
        #[serde(borrow)]
        strict: Option<&'a RawValue>,
    }
    const SCHEMA: &str = "text.format.schema";
    let Some(text) = field::present(original.field("text")) else { return Ok(ReplyFormat::Text) };
    let text: RawText<'_> = field::object(text, "text")?;
    let Some(format) = field::present(text.format) else { return Ok(ReplyFormat::Text) };
    let format: RawFormat<'_> = field::object(format, "text.format")?;
    match field::text(format.kind, "text.format.type")?.as_str() {
        "text" => Ok(ReplyFormat::Text),
        "json_object" => Ok(ReplyFormat::Json),
        "json_schema" => {
            let schema = format.schema.ok_or_else(|| RequestError::missing(SCHEMA, "a JSON schema"))?;
            if !field::is_object(schema) {
                return Err(RequestError::kind(SCHEMA, "a JSON schema, an object", field::kind(schema)));
            }
            let strict = field::present(format.strict)
                .map(|strict| field::read(strict, "text.format.strict", "a boolean"))
                .transpose()?;
            Ok(ReplyFormat::Schema(Schema {
                name: field::name(format.name, "text.format.name")?,
                description: field::optional_text(format.description, "text.format.description")?,
                schema: schema.to_owned(),
                strict,
            }))
        }
        other => {
            Err(RequestError::unsupported("text.format.type", "text, json_object or json_schema", other))
        }
    }
}
