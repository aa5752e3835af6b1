//! What is measured of a run.

use super::meter::{Answer, Meter};
use super::port::{ChatRequest, InferenceError};
use crate::telemetry;
use metrics::{SharedString, counter, histogram};
use tithe_pricing::{Catalogue, Usage};
use tokio::time::Instant;

/// The label of a model that the catalogue does not have.
const OTHER: &str = "other";

/// What is measured of a run: when it ends, or when nobody waits for it any more. Nothing is measured for each part of a stream.
pub(super) struct RunMetrics<'a> {
    catalogue: &'a Catalogue,
    request: &'a ChatRequest,
    meter: &'a Meter,
    began: Instant,
    is_measured: bool,
}

impl<'a> RunMetrics<'a> {
    pub(super) fn begin(catalogue: &'a Catalogue, request: &'a ChatRequest, meter: &'a Meter) -> Self {
        Self { catalogue, request, meter, began: Instant::now(), is_measured: false }
    }

    /// Measures a run that has ended.
    pub(super) fn ended(&mut self, answered: &Result<Answer, InferenceError>) {
        match answered {
            Ok(answer) => {
                if answer.estimated {
                    counter!(telemetry::MODEL_UNREPORTED, "model" => self.model()).increment(1);
                }
                self.measure("done", Some(answer.usage));
            }
            Err(failure) => {
                let used = self.meter.lost(self.catalogue, self.request, Some(failure));
                self.measure(outcome(failure), used);
            }
        }
    }

    fn measure(&mut self, outcome: &'static str, used: Option<Usage>) {
        self.is_measured = true;
        let model = self.model();
        if let Some(at) = self.meter.begun_at() {
            histogram!(telemetry::MODEL_FIRST_TEXT_SECONDS, "model" => model.clone())
                .record(at.duration_since(self.began));
        }
        measure(&model, outcome, self.began, used);
    }

    fn model(&self) -> SharedString {
        label(self.catalogue, &self.request.model)
    }
}

/// Measures a run that has ended.
fn measure(model: &SharedString, outcome: &'static str, began: Instant, used: Option<Usage>) {
    counter!(telemetry::MODEL_RUNS, "model" => model.clone(), "outcome" => outcome).increment(1);
    histogram!(telemetry::MODEL_RUN_SECONDS, "model" => model.clone()).record(began.elapsed());
    let Some(used) = used else { return };
    let buckets = [
        ("input", used.input_tokens.saturating_sub(used.cached_input_tokens)),
        ("cached_input", used.cached_input_tokens),
        ("output", used.output_tokens),
    ];
    for (bucket, tokens) in buckets {
        counter!(telemetry::MODEL_TOKENS, "model" => model.clone(), "bucket" => bucket).increment(tokens);
    }
}

/// The model as the value of a label: only models of the catalogue are.
fn label(catalogue: &Catalogue, model: &str) -> SharedString {
    let known = catalogue.model(model);
    known.map_or(SharedString::const_str(OTHER), |model| SharedString::from_owned(model.name.clone()))
}

/// What is measured of a run of an embedding model: when it ends, or when nobody waits for it any more.
pub(super) struct EmbeddingMetrics {
    model: SharedString,
    counted: Usage,
    began: Instant,
    is_measured: bool,
}

impl EmbeddingMetrics {
    /// `counted` is what a run has used of which no more is known.
    pub(super) fn begin(catalogue: &Catalogue, model: &str, counted: Usage) -> Self {
        Self { model: label(catalogue, model), counted, began: Instant::now(), is_measured: false }
    }

    /// Measures a run that has ended: what it has used, and whether that was counted here; or why it failed.
    pub(super) fn ended(&mut self, answered: Result<(Usage, bool), &InferenceError>) {
        self.is_measured = true;
        let (outcome, used) = match answered {
            Ok((used, estimated)) => {
                if estimated {
                    counter!(telemetry::MODEL_UNREPORTED, "model" => self.model.clone()).increment(1);
                }
                ("done", Some(used))
            }
            Err(failure) => (outcome(failure), failure.may_have_worked().then_some(self.counted)),
        };
        measure(&self.model, outcome, self.began, used);
    }
}

impl Drop for EmbeddingMetrics {
    fn drop(&mut self) {
        if !self.is_measured {
            measure(&self.model, "abandoned", self.began, Some(self.counted));
        }
    }
}

impl Drop for RunMetrics<'_> {
    fn drop(&mut self) {
        if !self.is_measured {
            let used = self.meter.lost(self.catalogue, self.request, None);
            self.measure("abandoned", used);
        }
    }
}

/// The name of a failure.
pub(super) const fn outcome(failure: &InferenceError) -> &'static str {
    match failure {
        InferenceError::Unavailable { .. } => "unavailable",
        InferenceError::TimedOut => "timed_out",
        InferenceError::Failed(_) => "failed",
        InferenceError::Refused(_) => "refused",
        InferenceError::Misconfigured(_) => "misconfigured",
        InferenceError::Interrupted(_) => "interrupted",
        InferenceError::Nonsense(_) => "nonsense",
    }
}
