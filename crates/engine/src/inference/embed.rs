//! Running an embedding model: texts in, vectors out, and what was used.

use super::port::{EmbeddingRequest, Embeddings, Inference, InferenceError};
use super::run_metrics::EmbeddingMetrics;
use std::time::Duration;
use tithe_chat::Vectors;
use tithe_pricing::{Catalogue, Usage};
use tokio::time::timeout;
use tracing::{Instrument, debug_span, warn};

/// Embedded texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Embedded {
    /// One vector for each input, in order.
    pub(crate) vectors: Vectors,
    /// The tokens that were used: the backend's report, or `counted` when it made none.
    pub(crate) usage: Usage,
    /// Whether the tokens were counted here, because the backend reported none.
    pub(crate) estimated: bool,
}

/// Runs an embedding model for at most `patience`, on texts of `counted` tokens.
///
/// # Errors
/// [`InferenceError`]; there are no vectors then, whatever the backend has done.
pub(crate) async fn embed(
    backend: &dyn Inference,
    catalogue: &Catalogue,
    request: &EmbeddingRequest,
    counted: Usage,
    patience: Duration,
) -> Result<Embedded, InferenceError> {
    let mut measured = EmbeddingMetrics::begin(catalogue, &request.model, counted);
    let answering = async {
        let answered = timeout(patience, backend.embed(request)).await;
        let Embeddings { vectors, usage } = answered.map_err(|_elapsed| InferenceError::TimedOut)??;
        if vectors.as_slice().len() != request.task.input.len() {
            return Err(InferenceError::Nonsense(None));
        }
        // There is always some input: a report of nothing is a missing report. And there is no output that is priced.
        let usage = usage.map(|usage| Usage { output_tokens: 0, reasoning_tokens: 0, ..usage });
        let usage = usage.filter(|usage| *usage != Usage::ZERO);
        if usage.is_none() {
            warn!(model = request.model, "the backend has reported no usage; tokens are counted");
        }
        Ok(Embedded { vectors, usage: usage.unwrap_or(counted), estimated: usage.is_none() })
    };
    let answered = answering.instrument(debug_span!("model_run", model = request.model)).await;
    measured.ended(answered.as_ref().map(|embedded| (embedded.usage, embedded.estimated)));
    answered
}
