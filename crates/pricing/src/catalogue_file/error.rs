//! Why a catalogue is invalid.

use tithe_money::MoneyError;

/// The reason why a catalogue is invalid. The message names the model and the field.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogueError {
    /// The text is not TOML of the expected form.
    #[error("invalid model catalogue: {0}")]
    Form(#[from] toml::de::Error),
    /// A price is not a decimal number of dollars.
    #[error("model {model:?}: {field} is {value:?}: {source}")]
    Price {
        /// The model.
        model: String,
        /// The field.
        field: &'static str,
        /// The field's value.
        value: String,
        /// The cause.
        source: MoneyError,
    },
    /// A value is unknown or out of range.
    #[error("model {model:?}: {problem}")]
    Value {
        /// The model.
        model: String,
        /// The problem.
        problem: String,
    },
    /// Two entries have the same name.
    #[error("duplicate model: {0:?}")]
    Duplicate(String),
}
