//! What a client asks for.

use crate::{Image, Message, Original, Part, Role, Tool, ToolChoice};
use serde_json::value::RawValue;

/// A chat that is to be continued by a model.
#[derive(Debug, Clone, Default)]
pub struct Chat {
    /// The messages so far, oldest first. Instructions are messages of [`crate::Role::System`].
    pub messages: Vec<Message>,
    /// The functions that the model may call.
    pub tools: Vec<Tool>,
    /// Whether the model may, must or must not call one.
    pub tool_choice: ToolChoice,
    /// Whether the model may call several functions at once; `None` leaves it to the backend.
    pub parallel_tool_calls: Option<bool>,
    /// The form of the answer.
    pub format: ReplyFormat,
    /// How much the model should reason; `None` leaves it to the backend.
    pub effort: Option<Effort>,
    /// The most output to generate, reasoning included, in tokens; `None` leaves it to the server.
    pub max_output_tokens: Option<u64>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The request as the client sent it; `None` for a chat that no client sent.
    pub original: Option<Original>,
}

impl Chat {
    /// A chat of one text by the user.
    #[must_use]
    pub fn of(text: impl Into<String>) -> Self {
        Self { messages: vec![Message::text(Role::User, text)], ..Self::default() }
    }

    /// Every text that the model reads: messages, calls and results of functions, the functions themselves, the schema of the answer.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let messages = self.messages.iter().flat_map(|message| message.parts.iter().flat_map(Part::texts));
        let tools = self.tools.iter().flat_map(|tool| {
            let parameters = tool.parameters.as_ref().map(|schema| schema.get());
            [Some(tool.name.as_str()), tool.description.as_deref(), parameters].into_iter().flatten()
        });
        let schema = match &self.format {
            ReplyFormat::Schema(schema) => Some(schema.schema.get()),
            ReplyFormat::Text | ReplyFormat::Json => None,
        };
        messages.chain(tools).chain(schema)
    }

    /// Every image that the model sees.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        self.messages.iter().flat_map(|message| message.parts.iter().flat_map(Part::images))
    }

    /// The text of the last message of the user that has any; empty if there is none.
    #[must_use]
    pub fn last_user_text(&self) -> String {
        let mut messages = self.messages.iter().rev().filter(|message| message.role == Role::User);
        messages.find_map(Message::own_text).unwrap_or_default()
    }
}

/// How tokens are chosen. What is `None` is left to the backend.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampling {
    /// 0 always takes the likeliest token.
    pub temperature: Option<f64>,
    /// The share of the likeliest tokens to choose from, by probability.
    pub top_p: Option<f64>,
    /// Texts at which the answer ends, without them.
    pub stop: Vec<String>,
}

/// How much a model should reason before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Not at all.
    None,
    /// As little as possible.
    Minimal,
    /// Little.
    Low,
    /// Moderately.
    Medium,
    /// Much.
    High,
    /// As much as possible.
    Max,
}

/// The form of an answer.
#[derive(Debug, Clone, Default)]
pub enum ReplyFormat {
    /// Any text.
    #[default]
    Text,
    /// A JSON object of any kind.
    Json,
    /// JSON that fits a schema.
    Schema(Schema),
}

/// A JSON schema that an answer must fit.
#[derive(Debug, Clone)]
pub struct Schema {
    /// The name of the schema.
    pub name: String,
    /// What the schema is for.
    pub description: Option<String>,
    /// The schema, a JSON object.
    pub schema: Box<RawValue>,
    /// Whether the answer must fit exactly; `None` leaves it to the backend.
    pub strict: Option<bool>,
}
