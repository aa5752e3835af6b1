//! Streamed answers.

use super::BackendError;
use super::wire::State;
use serde_json::Value;
use tithe_chat::{Delta, Finish};
use tithe_pricing::Usage;

/// Whether a stream goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// More events may come.
    More,
    /// This was the last event.
    Last,
}

/// How a stream has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Why.
    pub finish: Finish,
    /// What the backend says that it used; `None` if it does not say, or only in part.
    pub usage: Option<Usage>,
}

/// Reads the events of one streamed answer. (A server may answer with a whole one instead, as its content type says: see
/// [`super::decode_reply`] and [`tithe_chat::Reply::deltas`].)
#[derive(Debug, Clone, Default)]
pub struct Chunks(State);

impl Chunks {
    /// Reads the next event: its name, empty if it has none, and its data. What the model has written goes to `sink`, in order.
    ///
    /// # Errors
    /// [`BackendError`] if it is none of a chat. The stream is then over.
    pub fn step(
        &mut self,
        name: &str,
        data: &str,
        mut sink: impl FnMut(Delta),
    ) -> Result<Step, BackendError> {
        let data = data.trim();
        if data == "[DONE]" {
            // Servers that never report a finish reason at least send this.
            self.0.end();
            return Ok(Step::Last);
        }
        // Some servers keep the connection alive with empty events, or with a comment that went astray.
        if data.is_empty() || data.starts_with(':') {
            return Ok(Step::More);
        }
        if name == "error" {
            return Err(BackendError::Reported(reported(data)));
        }
        self.0.read(data, &mut sink)?;
        Ok(Step::More)
    }

    /// The end of the answer, if it was part of the events so far. Later events only add to it.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        Some(Ending { finish: self.0.finish()?, usage: self.0.usage })
    }

    /// What the backend has said so far that it used.
    #[must_use]
    pub const fn used(&self) -> Option<Usage> {
        self.0.usage
    }
}

/// The error object of an event.
fn reported(data: &str) -> Value {
    match serde_json::from_str(data) {
        Ok(Value::Object(mut fields)) => match fields.remove("error") {
            Some(error) if !error.is_null() => error,
            _ => Value::Object(fields),
        },
        Ok(other) => other,
        Err(_) => Value::String(data.to_owned()),
    }
}
