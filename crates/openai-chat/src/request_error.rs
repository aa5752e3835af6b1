//! Why requests are refused.

/// Why a request is refused; it belongs into a response with status 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RequestError {
    /// What is wrong: the field, what was expected and what is there.
    pub message: String,
    /// The field, such as `messages[2].content`; `None` for the body itself.
    pub param: Option<String>,
    /// OpenAI's name for what is wrong, such as `invalid_type`.
    pub code: &'static str,
}
