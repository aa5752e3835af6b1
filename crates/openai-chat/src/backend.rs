//! Backends that speak the chat completions API: requests to them, and what they answer.
//!
//! There are many such servers, with small differences: answers are read leniently, and normalised.

mod calls;
mod chunks;
mod finish;
mod messages;
mod request;
mod usage;
mod wire;
pub(crate) mod withheld;

pub use chunks::{Chunks, Ending, Step};
pub use request::encode_request;
pub use usage::larger;
pub use wire::{WholeReply, decode_reply};

use serde_json::Value;

/// What is asked of a backend, beside the chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackendRequest<'a> {
    /// The backend's name for the model.
    pub model: &'a str,
    /// The most output to generate, reasoning included, in tokens.
    pub max_output_tokens: u64,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether the answer should be the same each time, whatever the chat's own sampling.
    pub deterministic: bool,
    /// How the backend wants to be asked.
    pub dialect: Dialect,
}

/// What differs between servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// Whether the output limit is `max_completion_tokens`, not `max_tokens`.
    pub max_completion_tokens: bool,
    /// Whether a temperature of zero may be requested for an answer that should be deterministic.
    pub zero_temperature: bool,
    /// Whether usage is requested by `stream_options`.
    pub stream_options: bool,
}

impl Dialect {
    /// The dialect to try instead, after an error that names a parameter that can be left out or written otherwise. `names` says
    /// whether the error names a parameter.
    #[must_use]
    pub fn adapted(self, names: impl Fn(&str) -> bool) -> Option<Self> {
        if names("stream_options") && self.stream_options {
            return Some(Self { stream_options: false, ..self });
        }
        if names("temperature") && self.zero_temperature {
            return Some(Self { zero_temperature: false, ..self });
        }
        // Servers that want the newer field name it; those that do not know it name it as well.
        if names("max_completion_tokens") || names("max_tokens") && self.max_completion_tokens {
            return Some(Self { max_completion_tokens: !self.max_completion_tokens, ..self });
        }
        None
    }
}

/// Why a response of a backend is no answer. `Display` repeats nothing of the response: it may quote customers and keys.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The backend reports an error under a successful status: the error object, or the name of the failure.
    #[error("error from the backend")]
    Reported(Value),
    /// The response cannot be parsed.
    #[error("unreadable response from the backend: line {}, column {}", .0.line(), .0.column())]
    Unreadable(serde_json::Error),
    /// The response violates the API's contract: what is wrong with it, with the subject "it".
    #[error("invalid response from the backend: {0}")]
    Wrong(&'static str),
}

#[cfg(test)]
mod tests;
