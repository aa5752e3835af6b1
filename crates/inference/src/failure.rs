//! Backend failures, described for the operator.

use crate::transport::{BackendText, position};
use reqwest::StatusCode;
use std::time::Duration;
use tithe_chat::InvalidVectors;
use tithe_engine::inference::{ChatRequest, InferenceError};

/// A backend failure: the `source()` of every [`InferenceError`] of this crate that has one.
///
/// Its `Display` belongs in the operator's log and nowhere else. It tells lengths and codes, not the backend's own words, which may
/// quote customers and keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendFailure {
    /// The connection could not be established, so nothing was sent.
    #[error("cannot connect to the backend")]
    Unreachable(#[source] reqwest::Error),
    /// The connection broke after the request may have been sent.
    #[error("connection to the backend lost")]
    Broken(#[source] reqwest::Error),
    /// The response has an error status.
    #[error("unexpected status from the backend: {status} ({body})")]
    Status {
        /// The status.
        status: StatusCode,
        /// The body.
        body: BackendText,
    },
    /// The response reported an error after it had started successfully.
    #[error("error from the backend: {0}")]
    Reported(BackendText),
    /// The response cannot be parsed.
    #[error("unreadable response from the backend ({body}): {position}")]
    Unreadable {
        /// The response.
        body: BackendText,
        /// Where it cannot be read.
        position: String,
    },
    /// The response violates the API's contract.
    #[error("invalid response from the backend: {0}")]
    Wrong(&'static str),
    /// The embeddings are none.
    #[error("invalid response from the backend: {0}")]
    Invalid(InvalidVectors),
    /// The response ended before it was complete.
    #[error("incomplete response from the backend")]
    CutShort,
    /// The backend failed too often recently: no request was sent.
    #[error("the circuit breaker is open")]
    BreakerOpen,
    /// The backend's API has no embeddings: nothing was sent.
    #[error("this backend's API has no embeddings: offer embedding models only with a backend that has them")]
    NoEmbeddings,
    /// The simulation was instructed to fail.
    #[error("simulated failure")]
    Simulated,
}

impl BackendFailure {
    /// Returns true if the backend has certainly not started to generate, so that a retry repeats no work and causes no
    /// cost twice.
    ///
    /// This is the case if no connection was established, and for the statuses by which a server says that it did not
    /// accept the request: 408 (the request did not arrive completely), 429, 503 and Anthropic's 529. A 500 can come
    /// from the middle of the work, and a 502 or 504 from a proxy that lost the connection, so they are excluded.
    #[must_use]
    pub fn nothing_was_generated(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Simulated => true,
            Self::Status { status, .. } => matches!(status.as_u16(), 408 | 429 | 503 | 529),
            Self::Broken(_)
            | Self::Reported(_)
            | Self::Unreadable { .. }
            | Self::Wrong(_)
            | Self::Invalid(_)
            | Self::CutShort
            | Self::BreakerOpen
            | Self::NoEmbeddings => false,
        }
    }

    pub(crate) fn unavailable(self, retry_after: Option<Duration>) -> InferenceError {
        InferenceError::Unavailable { retry_after, source: Some(Box::new(self)) }
    }

    /// Returns true if the backend rejected the request and named this parameter.
    pub(crate) fn names_parameter(&self, name: &str) -> bool {
        match self {
            Self::Status { status, body } => matches!(status.as_u16(), 400 | 422) && body.contains(name),
            _ => false,
        }
    }

    /// Whether the backend refuses because it has used up the allowed output before it could answer: OpenAI's models that reason do.
    pub(crate) fn reached_output_limit(&self) -> bool {
        self.names_parameter("output limit was reached")
    }

    /// Whether what a client of the AI API has sent may be at fault: it is passed on as it is, so that a backend may refuse any of it. What
    /// is certainly the operator's is named by its code.
    fn may_be_the_clients(&self) -> bool {
        const OPERATORS: [&str; 7] = [
            "insufficient_quota",
            "billing_error",
            "credit balance is too low",
            "model_not_found",
            "invalid_api_key",
            "authentication_error",
            "permission_error",
        ];
        match self {
            Self::Status { status, body } => {
                matches!(status.as_u16(), 400 | 422) && !OPERATORS.iter().any(|words| body.contains(words))
            }
            _ => false,
        }
    }

    /// The failure behind an error of this crate.
    pub(crate) fn behind(error: &InferenceError) -> Option<&Self> {
        std::error::Error::source(error)?.downcast_ref()
    }

    pub(crate) fn failed(self) -> InferenceError {
        InferenceError::Failed(Some(Box::new(self)))
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

    /// A response that is not the JSON that it should be.
    pub(crate) fn unreadable(body: &[u8], wrong: &serde_json::Error) -> InferenceError {
        Self::Unreadable { body: BackendText::of(body), position: position(wrong) }.nonsense()
    }

    pub(crate) fn nonsense(self) -> InferenceError {
        InferenceError::Nonsense(Some(Box::new(self)))
    }
}

/// Blames the request, not the operator, for what a backend refuses of a request that a client of the AI API has written.
pub(crate) fn of_request(request: &ChatRequest, error: InferenceError) -> InferenceError {
    if request.chat.original.is_some() { of_client(error) } else { error }
}

/// Blames the client for what may be wrong with what it has sent.
pub(crate) fn of_client(error: InferenceError) -> InferenceError {
    let is_clients = BackendFailure::behind(&error).is_some_and(BackendFailure::may_be_the_clients);
    match error {
        InferenceError::Misconfigured(source) if is_clients => InferenceError::Refused(source),
        error => error,
    }
}

/// Returns true if a retry after `error` is safe and may help.
pub(crate) fn is_harmless_to_retry(error: &InferenceError) -> bool {
    let InferenceError::Unavailable { source: Some(source), .. } = error else { return false };
    source.downcast_ref().is_some_and(BackendFailure::nothing_was_generated)
}

/// The retry delay requested by the backend, if any.
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
            let failure = BackendFailure::Status { status, body: BackendText::of(b"") };
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
