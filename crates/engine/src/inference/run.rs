//! Running a model: request in, deltas out; at the end what was delivered, what was used, and how it ended.

use super::meter::{Answer, Meter, count_reply, tokenizer_of};
use super::port::{ChatEvent, ChatRequest, Inference, InferenceError};
use super::run_metrics::RunMetrics;
use futures_util::StreamExt;
use std::time::Duration;
use tithe_chat::{Delta, Finish, Part, Reply};
use tithe_pricing::{Catalogue, Tokenizer, Usage};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, debug_span, warn};

/// Receives an answer as it is generated.
pub type Listener<'a> = &'a (dyn Fn(&Delta) + Send + Sync);

/// Runs a model for at most `patience`. The answer goes to `listener` as it is generated; without a listener, it is only
/// returned. `meter` knows at any time what has been used. An answer that is not complete when the time is over is cut: what was delivered is an answer that ended at a length. So is one of which
/// no more is paid for.
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
    let (reply, usage) = if let Some(listener) = listener {
        let tokenizer = tokenizer_of(catalogue, request);
        stream(backend, request, until, (meter, tokenizer), listener).await?
    } else {
        let completion =
            timeout_at(until, backend.complete(request)).await.map_err(|_| InferenceError::TimedOut)??;
        (storable_reply(completion.reply), completion.usage)
    };
    // With an answer, a report of nothing is a missing report.
    let usage = usage.filter(|usage| reply.parts.is_empty() || *usage != Usage::ZERO);
    let estimated = usage.is_none();
    if estimated && !meter.is_withholding() {
        warn!(model = request.model, "the backend has reported no usage; tokens are counted");
    }
    let usage = usage.unwrap_or_else(|| meter.with_reported_input(count_reply(catalogue, request, &reply)));
    // From here on that is what the run has used, whoever pays for it.
    meter.lock().reported = Some(usage);
    Ok(Answer { reply, usage, estimated })
}

async fn stream(
    backend: &dyn Inference,
    request: &ChatRequest,
    until: Instant,
    (meter, tokenizer): (&Meter, Tokenizer),
    listener: Listener<'_>,
) -> Result<(Reply, Option<Usage>), InferenceError> {
    let started = timeout_at(until, backend.stream(request)).await;
    let mut events = started.map_err(|_| InferenceError::TimedOut)??;
    loop {
        let event = match timeout_at(until, events.next()).await {
            Ok(Some(event)) => event,
            Ok(None) => return Err(InferenceError::Interrupted(None)),
            Err(_elapsed) if !meter.has_begun() => return Err(InferenceError::TimedOut),
            Err(_elapsed) => return Ok((meter.take(Finish::Length), None)),
        };
        match event? {
            ChatEvent::Delta(delta) => {
                let delta = storable(delta);
                // What nobody pays for is not passed on: the answer ends at a length, and the backend is left.
                if !timeout_at(until, meter.admits(tokenizer, delta.written())).await.unwrap_or(false) {
                    return Ok((meter.take(Finish::Length), None));
                }
                listener(&delta);
                meter.push(&delta);
            }
            ChatEvent::Used(used) => meter.lock().reported = Some(used),
            ChatEvent::Finished { finish, usage } => return Ok((meter.take(finish), usage)),
        }
    }
}

/// A piece without U+0000, which not every database can store and no answer needs.
fn storable(mut delta: Delta) -> Delta {
    match &mut delta {
        Delta::Text(text)
        | Delta::Reasoning(text)
        | Delta::ReasoningSignature(text)
        | Delta::RedactedReasoning(text)
        | Delta::Arguments { json: text, .. } => make_storable(text),
        Delta::ToolCall { id, name, .. } => {
            make_storable(id);
            make_storable(name);
        }
    }
    delta
}

fn storable_reply(mut reply: Reply) -> Reply {
    for part in &mut reply.parts {
        match part {
            Part::Text(text) => make_storable(text),
            Part::Reasoning(reasoning) => make_storable(&mut reasoning.text),
            Part::ToolCall(call) => {
                make_storable(&mut call.id);
                make_storable(&mut call.name);
                make_storable(&mut call.arguments);
            }
            Part::Image(_) | Part::ToolResult(_) => {}
        }
    }
    reply
}

fn make_storable(text: &mut String) {
    if text.contains('\0') {
        *text = text.replace('\0', "\u{FFFD}");
    }
}
