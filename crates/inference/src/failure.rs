//! Why a backend did not answer, for the operator.

use reqwest::StatusCode;
use std::time::Duration;
use tithe_engine::inference::InferenceError;

/// What a backend did instead of answering: the `source()` of every [`InferenceError`] of this crate that has one.
///
/// Its `Display` holds what the backend said, so it belongs into the operator's log and nowhere else.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendFailure {
    /// No connection came about, so nothing was sent.
    #[error("no connection to the backend")]
    Unreachable(#[source] reqwest::Error),
    /// The connection broke after the request may have been sent.
    #[error("the connection to the backend broke")]
    Broken(#[source] reqwest::Error),
    /// It answered with a status that is not a success.
    #[error("the backend answered {status}: {body:?}")]
    Status {
        /// The status.
        status: StatusCode,
        /// The beginning of what it said.
        body: String,
    },
    /// It reported an error in the body of an answer that had begun well.
    #[error("the backend reported an error: {0:?}")]
    Reported(String),
    /// It said something that its API does not know.
    #[error("the backend's answer cannot be read: {excerpt:?}")]
    Unreadable {
        /// The beginning of what it said.
        excerpt: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It broke a promise of its API.
    #[error("the backend's answer is wrong: {0}")]
    Wrong(&'static str),
    /// The answer stopped before it was complete.
    #[error("the backend's answer ended early")]
    CutShort,
    /// It has failed too often lately: it was not asked.
    #[error("the circuit breaker is open")]
    BreakerOpen,
    /// The simulation was told to fail.
    #[error("the simulated backend was told to fail")]
    Simulated,
}

impl BackendFailure {
    /// Whether the backend has certainly not begun to generate, so that asking again repeats no work and costs nothing
    /// twice.
    ///
    /// That is so when no connection came about, and for the statuses by which a server says that it did not take the
    /// request on: 408 (the request did not arrive whole), 429, 503 and Anthropic's 529. A 500 can come from the middle
    /// of the work, and a 502 or 504 from a proxy that lost sight of it, so they are not among them.
    #[must_use]
    pub fn nothing_was_generated(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Simulated => true,
            Self::Status { status, .. } => matches!(status.as_u16(), 408 | 429 | 503 | 529),
            Self::Broken(_)
            | Self::Reported(_)
            | Self::Unreadable { .. }
            | Self::Wrong(_)
            | Self::CutShort
            | Self::BreakerOpen => false,
        }
    }

    pub(crate) fn unavailable(self, retry_after: Option<Duration>) -> InferenceError {
        InferenceError::Unavailable { retry_after, source: Some(Box::new(self)) }
    }

    pub(crate) fn refused(self) -> InferenceError {
        InferenceError::Refused(Some(Box::new(self)))
    }

    pub(crate) fn misconfigured(self) -> InferenceError {
        InferenceError::Misconfigured(Some(Box::new(self)))
    }

    pub(crate) fn interrupted(self) -> InferenceError {
        InferenceError::Interrupted(Some(Box::new(self)))
    }

    pub(crate) fn nonsense(self) -> InferenceError {
        InferenceError::Nonsense(Some(Box::new(self)))
    }
}

/// Whether asking again after `error` is harmless, and may help.
pub(crate) fn is_harmless_to_retry(error: &InferenceError) -> bool {
    let InferenceError::Unavailable { source: Some(source), .. } = error else { return false };
    source.downcast_ref().is_some_and(BackendFailure::nothing_was_generated)
}

/// When the backend wants to be asked again, if it said so.
pub(crate) const fn retry_after(error: &InferenceError) -> Option<Duration> {
    match error {
        InferenceError::Unavailable { retry_after, .. } => *retry_after,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_statuses_that_decline_the_work_are_harmless_to_retry() {
        for (status, harmless) in [
            (408, true),
            (429, true),
            (503, true),
            (529, true),
            (409, false),
            (500, false),
            (502, false),
            (504, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let failure = BackendFailure::Status { status, body: String::new() };
            assert_eq!(failure.nothing_was_generated(), harmless, "{status}");
        }
    }

    #[test]
    fn only_unavailability_is_retried() {
        assert!(is_harmless_to_retry(&BackendFailure::Simulated.unavailable(None)));
        assert!(!is_harmless_to_retry(&BackendFailure::Simulated.interrupted()));
        assert!(!is_harmless_to_retry(&BackendFailure::BreakerOpen.unavailable(None)));
        assert!(!is_harmless_to_retry(&InferenceError::Unavailable { retry_after: None, source: None }));
        assert!(!is_harmless_to_retry(&InferenceError::TimedOut));
    }
}
