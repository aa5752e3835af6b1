//! Why an answer of a backend is no answer.

use serde_json::value::RawValue;

/// Why an answer of a backend is no answer. Its words may quote customers and keys: they are the operator's, not the customer's.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The backend reports an error, as a JSON value: usually an object with `type` and `message`.
    #[error("error from the backend")]
    Reported(Box<RawValue>),
    /// The answer, or an event of it, is not the JSON that it should be.
    #[error("unreadable response from the backend")]
    Unreadable {
        /// What is wrong with it.
        #[from]
        source: serde_json::Error,
    },
    /// The answer violates the API's contract.
    #[error("invalid response from the backend: {0}")]
    Wrong(&'static str),
}
