//! Running a model: request in, deltas out; at the end what was delivered, what was used, and how it ended.

use super::meter::{Answer, Meter, count};
use super::port::{ChatEvent, ChatRequest, FinishReason, Inference, InferenceError};
use super::run_metrics::RunMetrics;
use futures_util::StreamExt;
use std::time::Duration;
use tithe_pricing::{Catalogue, Usage};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, debug_span, warn};

/// Receives the text of an answer as it is generated.
pub type Listener<'a> = &'a (dyn Fn(&str) + Send + Sync);

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
