//! What a run has used so far, and its answer.

use super::cover::Cover;
use super::port::{ChatRequest, InferenceError};
use super::prompt::prompt_tokens;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tithe_chat::{Delta, Finish, Part, Reply, ReplyBuilder};
use tithe_pricing::{Catalogue, Tokenizer, Usage};
use tokio::time::Instant;

/// What a run has used so far, as far as is known. It can be read when the run has failed, and when nobody waits for it any more.
#[derive(Debug, Default)]
pub struct Meter {
    metered: Mutex<Metered>,
    /// How much of the answer is paid for; not set if all of it is.
    cover: OnceLock<Arc<Cover>>,
}

#[derive(Debug, Default)]
pub(super) struct Metered {
    /// The answer so far.
    reply: ReplyBuilder,
    /// What the model has written so far, in order: text, shown reasoning, calls of functions.
    written: String,
    /// How much of `written` is counted, in bytes, and its tokens.
    counted: (usize, u64),
    /// What the model has written beyond that, and nobody gets unless it is paid for.
    withheld: String,
    pub(super) reported: Option<Usage>,
    /// When the first text came.
    begun_at: Option<Instant>,
}

impl Meter {
    pub(super) fn lock(&self) -> MutexGuard<'_, Metered> {
        self.metered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only what is covered is passed on from now on.
    pub(crate) fn cover_with(&self, cover: Arc<Cover>) {
        // A run has one cover.
        let _one = self.cover.set(cover);
    }

    /// Whether something was generated that nobody gets, because nobody pays for it.
    pub(crate) fn is_withholding(&self) -> bool {
        !self.lock().withheld.is_empty()
    }

    /// Waits until the next piece is paid for. Returns false if nobody pays for it: the answer ends before it.
    pub(super) async fn admits(&self, tokenizer: Tokenizer, next: &str) -> bool {
        let Some(cover) = self.cover.get() else { return true };
        let tokens = {
            let mut metered = self.lock();
            let (end, counted) = metered.counted;
            // No text has more tokens than bytes.
            let bytes = metered.written.len().saturating_sub(end).saturating_add(next.len());
            if cover.is_ample(counted.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX))) {
                return true;
            }
            let uncounted = tokenizer.count(metered.written.get(end..).unwrap_or_default());
            metered.counted = (metered.written.len(), counted.saturating_add(uncounted));
            let tokens = metered.counted.1.saturating_add(tokenizer.count(next));
            if cover.admit(tokens) == Some(true) {
                return true;
            }
            next.clone_into(&mut metered.withheld);
            tokens
        };
        let is_admitted = cover.admitted(tokens).await;
        if is_admitted {
            self.lock().withheld.clear();
        }
        is_admitted
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
            (metered.reply.clone().finish(Finish::Length), written)
        };
        reply.truncate(written.len());
        let delivered = self.with_reported_input(count(catalogue, request, &written));
        let used = self.lost(catalogue, request, None).unwrap_or(delivered);
        let text = reply.text();
        (reply, text, delivered, used)
    }

    /// A count, with the input as the backend has reported it, if it has: the backend knows what it has read from a cache, or written to it.
    pub(crate) fn with_reported_input(&self, counted: Usage) -> Usage {
        match self.lock().reported.filter(|reported| reported.input_tokens > 0) {
            Some(reported) => Usage { output_tokens: counted.output_tokens, reasoning_tokens: 0, ..reported },
            None => counted,
        }
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
        if metered.written.is_empty()
            && metered.withheld.is_empty()
            && metered.reported.is_none()
            && !may_have_worked
        {
            return None;
        }
        let counted = count(catalogue, request, &[&*metered.written, &metered.withheld].concat());
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

/// The tokenizer of the model that a request is for.
pub(super) fn tokenizer_of(catalogue: &Catalogue, request: &ChatRequest) -> Tokenizer {
    catalogue.model(&request.model).map_or(Tokenizer::Bytes, |model| model.tokenizer)
}

/// The usage of a request and what was written in answer to it, counted by the model's tokenizer.
fn count(catalogue: &Catalogue, request: &ChatRequest, written: &str) -> Usage {
    let tokenizer = tokenizer_of(catalogue, request);
    Usage {
        input_tokens: prompt_tokens(tokenizer, &request.chat),
        output_tokens: tokenizer.count(written),
        ..Usage::ZERO
    }
}
