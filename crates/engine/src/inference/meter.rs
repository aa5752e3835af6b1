//! What a run has used so far, and its answer.

use super::port::{ChatRequest, FinishReason, InferenceError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tithe_pricing::{Catalogue, Tokenizer, Usage};
use tokio::time::Instant;

/// What a run has used so far, as far as is known. It can be read when the run has failed, and when nobody waits for it any more.
#[derive(Debug, Default)]
pub struct Meter(Mutex<Metered>);

#[derive(Debug, Default)]
pub(super) struct Metered {
    text: String,
    pub(super) reported: Option<Usage>,
    /// When the first text came.
    begun_at: Option<Instant>,
}

impl Meter {
    pub(super) fn lock(&self) -> MutexGuard<'_, Metered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, delta: &str) {
        let mut metered = self.lock();
        if metered.text.is_empty() {
            metered.begun_at = Some(Instant::now());
        }
        metered.text.push_str(delta);
    }

    /// When the first text of a stream came.
    pub(super) fn begun_at(&self) -> Option<Instant> {
        self.lock().begun_at
    }

    /// The text of an answer that has ended. It was held only once until here: it may be long.
    pub(super) fn take_text(&self) -> String {
        std::mem::take(&mut self.lock().text)
    }

    /// Whether the backend has begun to answer.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !self.lock().text.is_empty()
    }

    /// What a customer has got of an answer who left after `sent` bytes of it: the text, what that is by our count, and what the backend
    /// has used, as far as is known.
    pub(crate) fn delivered(
        &self,
        catalogue: &Catalogue,
        request: &ChatRequest,
        sent: usize,
    ) -> (String, Usage, Usage) {
        let text = {
            let metered = self.lock();
            let end = metered.text.floor_char_boundary(sent.min(metered.text.len()));
            metered.text.get(..end).unwrap_or_default().to_owned()
        };
        let delivered = count(catalogue, request, &text);
        let used = self.lost(catalogue, request, None).unwrap_or(delivered);
        (text, delivered, used)
    }

    /// What a run used that ended without an answer: by this failure, or because nobody waits for it any more. `None` if the backend
    /// has certainly done nothing.
    pub(crate) fn lost(
        &self,
        catalogue: &Catalogue,
        request: &ChatRequest,
        failure: Option<&InferenceError>,
    ) -> Option<Usage> {
        let metered = self.lock();
        let may_have_worked = failure.is_none_or(InferenceError::may_have_worked);
        if metered.text.is_empty() && metered.reported.is_none() && !may_have_worked {
            return None;
        }
        let counted = count(catalogue, request, &metered.text);
        let Some(reported) = metered.reported else { return Some(counted) };
        Some(Usage {
            input_tokens: if reported.input_tokens == 0 {
                counted.input_tokens
            } else {
                reported.input_tokens
            },
            output_tokens: reported.output_tokens.max(counted.output_tokens),
            ..reported
        })
    }
}

/// A finished answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The text that was delivered.
    pub text: String,
    /// The tokens that were used: the backend's report, or a count when it made none.
    pub usage: Usage,
    /// Whether the tokens were counted here, because the backend reported none.
    pub estimated: bool,
    /// How the answer ended.
    pub finish: FinishReason,
}

/// The usage of a request and the text of its answer, counted by the model's tokenizer.
pub(super) fn count(catalogue: &Catalogue, request: &ChatRequest, text: &str) -> Usage {
    let tokenizer = catalogue.model(&request.model).map_or(Tokenizer::Bytes, |model| model.tokenizer);
    let input = request.messages.iter().map(|message| tokenizer.count(&message.text));
    Usage {
        input_tokens: input.fold(0, u64::saturating_add),
        output_tokens: tokenizer.count(text),
        ..Usage::ZERO
    }
}
