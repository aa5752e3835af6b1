//! What a run has used so far, and its answer.

use super::port::{ChatRequest, InferenceError};
use super::prompt::prompt_tokens;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tithe_chat::{Delta, Finish, Part, Reply, ReplyBuilder};
use tithe_pricing::{Catalogue, Tokenizer, Usage};
use tokio::time::Instant;

/// What a run has used so far, as far as is known. It can be read when the run has failed, and when nobody waits for it any more.
#[derive(Debug, Default)]
pub struct Meter(Mutex<Metered>);

#[derive(Debug, Default)]
pub(super) struct Metered {
    /// The answer so far.
    reply: ReplyBuilder,
    /// What the model has written so far, in order: text, shown reasoning, calls of functions.
    written: String,
    pub(super) reported: Option<Usage>,
    /// When the first text came.
    begun_at: Option<Instant>,
}

impl Meter {
    pub(super) fn lock(&self) -> MutexGuard<'_, Metered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, delta: &Delta) {
        let mut metered = self.lock();
        metered.begun_at.get_or_insert_with(Instant::now);
        metered.written.push_str(delta.written());
        metered.reply.push(delta);
    }

    /// When the first part of a stream came.
    pub(super) fn begun_at(&self) -> Option<Instant> {
        self.lock().begun_at
    }

    /// The answer, which has ended.
    pub(super) fn take(&self, finish: Finish) -> Reply {
        std::mem::take(&mut self.lock().reply).finish(finish)
    }

    /// Whether the backend has begun to answer.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.lock().begun_at.is_some()
    }

    /// What a customer has got of an answer who left after `sent` bytes of what the model wrote: the beginning of the answer, its text, what
    /// that is by our count, and what the backend has used, as far as is known.
    pub(crate) fn delivered(
        &self,
        catalogue: &Catalogue,
        request: &ChatRequest,
        sent: usize,
    ) -> (Reply, String, Usage, Usage) {
        let (mut reply, written) = {
            let metered = self.lock();
            let end = metered.written.floor_char_boundary(sent.min(metered.written.len()));
            let written = metered.written.get(..end).unwrap_or_default().to_owned();
            (metered.reply.clone().finish(Finish::Other), written)
        };
        reply.truncate(written.len());
        let delivered = count(catalogue, request, &written);
        let used = self.lost(catalogue, request, None).unwrap_or(delivered);
        let text = reply.text();
        (reply, text, delivered, used)
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
        if metered.written.is_empty() && metered.reported.is_none() && !may_have_worked {
            return None;
        }
        let counted = count(catalogue, request, &metered.written);
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
    /// What was delivered, and how it ended.
    pub reply: Reply,
    /// The tokens that were used: the backend's report, or a count when it made none.
    pub usage: Usage,
    /// Whether the tokens were counted here, because the backend reported none.
    pub estimated: bool,
}

/// The usage of a request and its answer, counted by the model's tokenizer.
pub(super) fn count_reply(catalogue: &Catalogue, request: &ChatRequest, reply: &Reply) -> Usage {
    let written: Vec<&str> = reply
        .parts
        .iter()
        .flat_map(|part| match part {
            Part::Text(text) => [text.as_str(), ""],
            Part::Reasoning(reasoning) => [reasoning.text.as_str(), ""],
            Part::ToolCall(call) => [call.name.as_str(), call.arguments.as_str()],
            Part::Image(_) | Part::ToolResult(_) => ["", ""],
        })
        .collect();
    count(catalogue, request, &written.concat())
}

/// The usage of a request and what was written in answer to it, counted by the model's tokenizer.
fn count(catalogue: &Catalogue, request: &ChatRequest, written: &str) -> Usage {
    let tokenizer = catalogue.model(&request.model).map_or(Tokenizer::Bytes, |model| model.tokenizer);
    Usage {
        input_tokens: prompt_tokens(tokenizer, &request.chat),
        output_tokens: tokenizer.count(written),
        ..Usage::ZERO
    }
}
