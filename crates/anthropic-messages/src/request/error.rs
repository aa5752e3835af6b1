//! Why a request is refused.

use serde_json::value::RawValue;
use std::fmt;

/// Why a request is refused: a 400 of type `invalid_request_error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestError {
    /// What is wrong, without the name of the field.
    pub message: String,
    /// The field, such as `messages.0.content.1.source`; `None` if the body as a whole is wrong.
    pub param: Option<String>,
    /// The kind of mistake: `invalid_json`, `missing`, `invalid` or `unsupported`.
    pub code: &'static str,
}

impl fmt::Display for RequestError {
    /// As Anthropic words it: `max_tokens: Field required`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.param {
            Some(param) => write!(f, "{param}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for RequestError {}

impl RequestError {
    pub(crate) fn body(reason: &serde_json::Error) -> Self {
        let message = format!("invalid body: expected a JSON object, got {reason}");
        Self { message, param: None, code: "invalid_json" }
    }

    pub(crate) fn missing(param: impl Into<String>) -> Self {
        Self { message: "Field required".to_owned(), param: Some(param.into()), code: "missing" }
    }

    pub(crate) fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { message: message.into(), param: Some(param.into()), code: "invalid" }
    }

    /// A value of the wrong type.
    pub(crate) fn expected(param: impl Into<String>, expected: &str, got: &RawValue) -> Self {
        Self::invalid(param, format!("expected {expected}, got {}", excerpt(got.get())))
    }

    pub(crate) fn unsupported(param: impl Into<String>, what: &str) -> Self {
        let message = format!("{what} cannot be priced and is not supported");
        Self { message, param: Some(param.into()), code: "unsupported" }
    }
}

/// The beginning of a value, short enough for a message.
pub(crate) fn excerpt(value: &str) -> String {
    const CHARACTERS: usize = 60;
    let mut characters = value.chars();
    let mut text: String = characters.by_ref().take(CHARACTERS).collect();
    if characters.next().is_some() {
        text.push('…');
    }
    text
}
