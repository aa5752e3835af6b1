//! Trying the targets of a route in order.

use super::health::BackendHealth;
use super::port::InferenceError;
use super::routes::Target;
use super::run_metrics::outcome;
use crate::error_chain::chain;
use crate::telemetry;
use metrics::{SharedString, counter};
use tracing::warn;

/// The tries to have one piece of work done: one target after the other, until one answers, or a failure is final.
///
/// The next target gets the work only if the customer has got nothing of it. A refusal is a judgement of the request, and is not asked
/// for elsewhere. A failure after which the backend may have done the work, which is booked as a loss, is followed by one more target at
/// most: a request must not make every backend work for nothing.
pub(crate) struct Attempts<'a> {
    targets: &'a [Target],
    health: Option<&'a BackendHealth>,
    at: usize,
    /// Whether a backend may have worked for nothing.
    is_in_doubt: bool,
    /// The failure that is reported if there is no answer.
    gravest: Option<InferenceError>,
}

impl<'a> Attempts<'a> {
    /// The tries at these targets, whose health is known to `health` if it is watched.
    pub(crate) const fn new(targets: &'a [Target], health: Option<&'a BackendHealth>) -> Self {
        Self { targets, health, at: 0, is_in_doubt: false, gravest: None }
    }

    /// The target whose turn it is.
    ///
    /// # Errors
    /// [`InferenceError::Misconfigured`] without any target.
    pub(crate) fn target(&self) -> Result<&'a Target, InferenceError> {
        self.targets.get(self.at).ok_or(InferenceError::Misconfigured(None))
    }

    /// What makes the bookings of this try unique among those of the same work.
    pub(crate) fn occasion(&self, work: &str) -> String {
        if self.at == 0 { work.to_owned() } else { format!("{work}:target:{}", self.at.saturating_add(1)) }
    }

    /// The target has answered.
    pub(crate) fn answered(&self) {
        let Ok(target) = self.target() else { return };
        measure(target, "done");
        if let Some(health) = self.health {
            health.answered(target);
        }
    }

    /// The target has failed. `is_begun`: something of the answer was generated, or nobody waits for another one. Returns `Ok` if it is the
    /// next target's turn.
    ///
    /// # Errors
    /// The failure to report, if there is no answer.
    pub(crate) fn failed(&mut self, failure: InferenceError, is_begun: bool) -> Result<(), InferenceError> {
        let Ok(target) = self.target() else { return Err(failure) };
        measure(target, outcome(&failure));
        if let Some(health) = self.health {
            health.suspect(target, &failure);
        }
        let was_in_doubt = self.is_in_doubt;
        self.is_in_doubt |= failure.may_have_worked();
        let is_final = is_begun || failure.is_refusal() || (was_in_doubt && failure.may_have_worked());
        match self.targets.get(self.at.saturating_add(1)) {
            Some(next) if !is_final => {
                warn!(
                    backend = &*target.backend,
                    error = chain(&failure),
                    "the AI backend failed; {} gets the work",
                    next.backend
                );
                self.keep(failure);
                self.at = self.at.saturating_add(1);
                Ok(())
            }
            // What a backend says of the request itself counts, and what has begun.
            _ if is_begun || failure.is_refusal() => Err(failure),
            _ => {
                self.keep(failure);
                Err(self.gravest.take().unwrap_or(InferenceError::Failed(None)))
            }
        }
    }

    fn keep(&mut self, failure: InferenceError) {
        if self.gravest.as_ref().is_none_or(|kept| gravity(kept) <= gravity(&failure)) {
            self.gravest = Some(failure);
        }
    }
}

/// What a failure means for another try: nothing but time, or that the work may have cost something.
const fn gravity(failure: &InferenceError) -> u8 {
    match failure {
        InferenceError::Misconfigured(_) => 0,
        InferenceError::Unavailable { .. } => 1,
        InferenceError::Failed(_) | InferenceError::Refused(_) => 2,
        InferenceError::TimedOut | InferenceError::Interrupted(_) | InferenceError::Nonsense(_) => 3,
    }
}

/// Counts a run by its backend. There are as many as the operator has configured.
fn measure(target: &Target, outcome: &'static str) {
    let backend = SharedString::from_owned(target.backend.as_ref().to_owned());
    counter!(telemetry::BACKEND_RUNS, "backend" => backend, "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::{ChatRequest, ChatStream, Completion, EmbeddingRequest, Embeddings, Inference};
    use async_trait::async_trait;
    use std::sync::Arc;

    struct Nobody;

    #[async_trait]
    impl Inference for Nobody {
        async fn complete(&self, _request: &ChatRequest) -> Result<Completion, InferenceError> {
            Err(InferenceError::Failed(None))
        }

        async fn stream(&self, _request: &ChatRequest) -> Result<ChatStream, InferenceError> {
            Err(InferenceError::Failed(None))
        }

        async fn embed(&self, _request: &EmbeddingRequest) -> Result<Embeddings, InferenceError> {
            Err(InferenceError::Failed(None))
        }
    }

    fn targets(count: usize) -> Vec<Target> {
        let inference: Arc<dyn Inference> = Arc::new(Nobody);
        let target = |n| Target { name: format!("m{n}").into(), ..Target::hardware(&inference, "m") };
        (0..count).map(target).collect()
    }

    fn away() -> InferenceError {
        InferenceError::Unavailable { retry_after: None, source: None }
    }

    #[test]
    fn the_next_target_gets_what_nobody_has_begun_or_judged() {
        let two = targets(2);
        for (failure, is_begun, goes_on) in [
            (away(), false, true),
            (InferenceError::Misconfigured(None), false, true),
            (InferenceError::Failed(None), false, true),
            (InferenceError::TimedOut, false, true),
            (InferenceError::Nonsense(None), false, true),
            (InferenceError::Refused(None), false, false),
            (InferenceError::Interrupted(None), true, false),
            (InferenceError::Failed(None), true, false),
        ] {
            let mut attempts = Attempts::new(&two, None);
            let told = format!("{failure:?} {is_begun}");
            assert_eq!(attempts.failed(failure, is_begun).is_ok(), goes_on, "{told}");
            assert_eq!(&*attempts.target().unwrap().name, if goes_on { "m1" } else { "m0" }, "{told}");
        }
    }

    #[test]
    fn no_request_makes_more_than_two_backends_work_for_nothing() {
        let four = targets(4);
        let mut attempts = Attempts::new(&four, None);
        attempts.failed(InferenceError::TimedOut, false).unwrap();
        attempts.failed(away(), false).unwrap();
        let last = attempts.failed(InferenceError::TimedOut, false);
        assert!(matches!(last, Err(InferenceError::TimedOut)), "{last:?}");
    }

    #[test]
    fn the_gravest_failure_is_reported_and_a_refusal_before_all_others() {
        let two = targets(2);
        let after = |first, second| {
            let mut attempts = Attempts::new(&two, None);
            attempts.failed(first, false).unwrap();
            attempts.failed(second, false).unwrap_err()
        };
        assert!(matches!(after(InferenceError::TimedOut, away()), InferenceError::TimedOut));
        assert!(matches!(
            after(InferenceError::Misconfigured(None), away()),
            InferenceError::Unavailable { .. }
        ));
        assert!(matches!(
            after(away(), InferenceError::Misconfigured(None)),
            InferenceError::Unavailable { .. }
        ));
        assert!(matches!(
            after(InferenceError::TimedOut, InferenceError::Refused(None)),
            InferenceError::Refused(_)
        ));
    }

    #[test]
    fn every_try_has_an_occasion_of_its_own() {
        let two = targets(2);
        let mut attempts = Attempts::new(&two, None);
        let first = attempts.occasion("work");
        attempts.failed(away(), false).unwrap();
        assert_eq!((first.as_str(), attempts.occasion("work").as_str()), ("work", "work:target:2"));
    }
}
