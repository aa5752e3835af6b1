//! The functions that a model may call.

use serde_json::value::RawValue;

/// A function that the model may call. The client runs it.
#[derive(Debug, Clone)]
pub struct Tool {
    /// The name.
    pub name: String,
    /// What it does, for the model.
    pub description: Option<String>,
    /// The JSON schema of its arguments; `None` if it takes none.
    pub parameters: Option<Box<RawValue>>,
    /// Whether the arguments must fit the schema exactly; `None` leaves it to the backend.
    pub strict: Option<bool>,
}

/// Whether the model may, must or must not call a function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// It must not.
    None,
    /// It must call at least one.
    Required,
    /// It must call the one with this name.
    Named(String),
}
