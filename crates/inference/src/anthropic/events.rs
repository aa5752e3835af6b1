//! The events of a stream, and errors in answers.

use crate::chat_stream::{Protocol, reported};
use crate::failure::BackendFailure;
use crate::sse::Event;
use serde_json::Value;
use std::collections::VecDeque;
use tithe_anthropic_messages::backend::{BackendError, Events, Step};
use tithe_chat::Delta;
use tithe_engine::inference::{ChatEvent, InferenceError};
use tithe_pricing::Usage;

/// The events of one stream.
#[derive(Debug, Default)]
pub(super) struct MessageEvents(Events);

impl Protocol for MessageEvents {
    fn step(
        &mut self,
        event: &Event,
        delivered: bool,
        deltas: &mut VecDeque<Delta>,
    ) -> Result<bool, InferenceError> {
        let step = self.0.step(&event.name, &event.data, &mut |delta| deltas.push_back(delta));
        let step =
            step.map_err(|error| failed(error, event.data.as_bytes(), delivered || !deltas.is_empty()))?;
        Ok(step == Step::Last)
    }

    fn ending(&self) -> Option<ChatEvent> {
        let (finish, usage) = self.0.ending()?;
        Some(ChatEvent::Finished { finish, usage })
    }

    fn used(&self) -> Option<Usage> {
        self.0.used()
    }
}

/// The failure behind an answer that is none. `delivered` says whether a part of it was delivered.
pub(super) fn failed(error: BackendError, body: &[u8], delivered: bool) -> InferenceError {
    match error {
        BackendError::Reported(error) => {
            let error: Value = serde_json::from_str(error.get()).unwrap_or_default();
            reported(&error, delivered)
        }
        BackendError::Unreadable { source } => BackendFailure::unreadable(body, &source),
        BackendError::Wrong(what) => BackendFailure::Wrong(what).nonsense(),
    }
}
