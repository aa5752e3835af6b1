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
#[derive(Debug, Clone, PartialEq)]
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
}

/// A part of a message, or of an answer.
#[derive(Debug, Clone, PartialEq)]
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
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ToolResult {
    /// The id of the call.
    pub call: String,
    /// The result: texts and images.
    pub parts: Vec<Part>,
    /// Whether the function has failed.
    pub is_error: bool,
}
