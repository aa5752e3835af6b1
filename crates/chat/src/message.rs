//! Messages and what they consist of.

use crate::Image;

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Whoever gives the model its instructions: `system` or `developer`.
    System,
    /// The user; results of tools come from the user too.
    User,
    /// The model, in an earlier answer.
    Assistant,
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The author.
    pub role: Role,
    /// What it consists of, in order.
    pub parts: Vec<Part>,
}

impl Message {
    /// A message of one text.
    #[must_use]
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { role, parts: vec![Part::Text(text.into())] }
    }

    /// What its author has written, without results of functions and reasoning; `None` if that is nothing.
    #[must_use]
    pub fn own_text(&self) -> Option<String> {
        let texts: Vec<&str> = self
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        (!texts.is_empty()).then(|| texts.join("\n"))
    }
}

/// A part of a message, or of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text.
    Text(String),
    /// An image; only in messages of users and in results of tools.
    Image(Image),
    /// The model's reasoning; only in messages of the model.
    Reasoning(Reasoning),
    /// A call of a function; only in messages of the model.
    ToolCall(ToolCall),
    /// What a function has returned; only in messages of users.
    ToolResult(ToolResult),
}

impl Part {
    /// The texts of this part that a model reads.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let (own, inner): ([Option<&str>; 2], &[Self]) = match self {
            Self::Text(text) => ([Some(text), None], &[]),
            Self::Image(_) => ([None, None], &[]),
            Self::Reasoning(reasoning) => ([Some(&reasoning.text), reasoning.signature.as_deref()], &[]),
            Self::ToolCall(call) => ([Some(&call.name), Some(&call.arguments)], &[]),
            Self::ToolResult(result) => ([None, None], &result.parts),
        };
        let inner = inner.iter().filter_map(|part| match part {
            Self::Text(text) => Some(text.as_str()),
            _ => None,
        });
        own.into_iter().flatten().chain(inner)
    }

    /// The images of this part.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        let (own, inner): (Option<&Image>, &[Self]) = match self {
            Self::Image(image) => (Some(image), &[]),
            Self::ToolResult(result) => (None, &result.parts),
            Self::Text(_) | Self::Reasoning(_) | Self::ToolCall(_) => (None, &[]),
        };
        let inner = inner.iter().filter_map(|part| match part {
            Self::Image(image) => Some(image),
            _ => None,
        });
        own.into_iter().chain(inner)
    }
}

/// A model's reasoning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reasoning {
    /// The text; empty if the backend hides it.
    pub text: String,
    /// What proves to the backend that the text is the model's own, or the hidden text in encrypted form.
    pub signature: Option<String>,
    /// Whether `signature` is the reasoning itself, encrypted.
    pub is_redacted: bool,
}

/// A call of a function by the model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolCall {
    /// The id that the result refers to.
    pub id: String,
    /// The name of the function.
    pub name: String,
    /// The arguments, as the model wrote them: JSON, usually an object, and not always valid.
    pub arguments: String,
}

/// What a function has returned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolResult {
    /// The id of the call.
    pub call: String,
    /// The result: texts and images.
    pub parts: Vec<Part>,
    /// Whether the function has failed.
    pub is_error: bool,
}
