//! Running a model: request in, deltas out; at the end what was delivered, what was used, and how it ended.

use super::port::{ChatEvent, ChatRequest, FinishReason, Inference, InferenceError};
use super::run_metrics::RunMetrics;
use futures_util::StreamExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tithe_pricing::{Catalogue, Tokenizer, Usage};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, debug_span, warn};

/// Receives the text of an answer as it is generated.
pub type Listener<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// What a run has used so far, as far as is known. It can be read when the run has failed, and when nobody waits for it any more.
#[derive(Debug, Default)]
pub struct Meter(Mutex<Metered>);

#[derive(Debug, Default)]
struct Metered {
    text: String,
    reported: Option<Usage>,
    /// When the first text came.
    begun_at: Option<Instant>,
}

impl Meter {
    fn lock(&self) -> MutexGuard<'_, Metered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, delta: &str) {
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
    fn take_text(&self) -> String {
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
            cached_input_tokens: reported.cached_input_tokens,
            output_tokens: reported.output_tokens.max(counted.output_tokens),
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

/// Runs a model for at most `patience`. The text goes to `listener` as it is generated; without a listener, it is only
/// returned. `meter` knows at any time what has been used. An answer that is not complete when the time is over is cut: what was delivered is an answer that ended at a length.
///
/// # Errors
/// [`InferenceError`]; text may have gone to `listener` before.
pub async fn run(
    backend: &dyn Inference,
    catalogue: &Catalogue,
    request: &ChatRequest,
    patience: Duration,
    meter: &Meter,
    listener: Option<Listener<'_>>,
) -> Result<Answer, InferenceError> {
    let mut measured = RunMetrics::begin(catalogue, request, meter);
    let answering = answer(backend, catalogue, request, patience, meter, listener);
    let answered = answering.instrument(debug_span!("model_run", model = request.model)).await;
    measured.ended(&answered);
    answered
}

/// As [`run`], unmeasured.
async fn answer(
    backend: &dyn Inference,
    catalogue: &Catalogue,
    request: &ChatRequest,
    patience: Duration,
    meter: &Meter,
    listener: Option<Listener<'_>>,
) -> Result<Answer, InferenceError> {
    let until = Instant::now() + patience;
    let (text, usage, finish) = if let Some(listener) = listener {
        stream(backend, request, until, meter, listener).await?
    } else {
        let completion =
            timeout_at(until, backend.complete(request)).await.map_err(|_| InferenceError::TimedOut)??;
        (storable(completion.text), completion.usage, completion.finish)
    };
    // With text, a report of nothing is a missing report.
    let usage = usage.filter(|usage| text.is_empty() || *usage != Usage::default());
    let estimated = usage.is_none();
    if estimated {
        warn!(model = request.model, "the backend has reported no usage; tokens are counted");
    }
    let usage = usage.unwrap_or_else(|| count(catalogue, request, &text));
    // From here on that is what the run has used, whoever pays for it.
    meter.lock().reported = Some(usage);
    Ok(Answer { text, usage, estimated, finish })
}

async fn stream(
    backend: &dyn Inference,
    request: &ChatRequest,
    until: Instant,
    meter: &Meter,
    listener: Listener<'_>,
) -> Result<(String, Option<Usage>, FinishReason), InferenceError> {
    let started = timeout_at(until, backend.stream(request)).await;
    let mut events = started.map_err(|_| InferenceError::TimedOut)??;
    loop {
        let event = match timeout_at(until, events.next()).await {
            Ok(Some(event)) => event,
            Ok(None) => return Err(InferenceError::Interrupted(None)),
            Err(_elapsed) if !meter.has_begun() => return Err(InferenceError::TimedOut),
            Err(_elapsed) => return Ok((meter.take_text(), None, FinishReason::Length)),
        };
        match event? {
            ChatEvent::Delta(delta) => {
                let delta = storable(delta);
                listener(&delta);
                meter.push(&delta);
            }
            ChatEvent::Used(used) => meter.lock().reported = Some(used),
            ChatEvent::Finished { finish, usage } => return Ok((meter.take_text(), usage, finish)),
        }
    }
}

/// The text without U+0000, which not every database can store and no answer needs.
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{FFFD}") } else { text }
}

/// The usage of a request and the text of its answer, counted by the model's tokenizer.
fn count(catalogue: &Catalogue, request: &ChatRequest, text: &str) -> Usage {
    let tokenizer = catalogue.model(&request.model).map_or(Tokenizer::Bytes, |model| model.tokenizer);
    let input = request.messages.iter().map(|message| tokenizer.count(&message.text));
    Usage {
        input_tokens: input.fold(0, u64::saturating_add),
        cached_input_tokens: 0,
        output_tokens: tokenizer.count(text),
    }
}
