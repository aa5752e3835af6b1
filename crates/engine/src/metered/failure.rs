//! Why a metered request has no answer.

use crate::error::EngineError;
use crate::error_chain::chain;
use crate::inference::InferenceError;
use crate::mounts::UpstreamError;

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The backend, or its answer.
    Backend(InferenceError),
    /// The answer has no text.
    Empty,
    /// The service behind a mounted route.
    Upstream(UpstreamError),
}

impl Failure {
    /// The message for the customer.
    pub(crate) fn message(&self) -> String {
        let why = match self {
            Self::Backend(InferenceError::Refused(_)) => "The AI backend refused the request.",
            Self::Backend(_) => "The work could not be done.",
            Self::Empty => "The model gave no answer.",
            Self::Upstream(failure) if failure.may_have_worked() => {
                return format!(
                    "{failure}; it may have done the request, and is not called again; nothing was charged"
                );
            }
            Self::Upstream(failure) => return format!("{failure}; nothing was charged"),
        };
        format!("{why} Nothing was charged.")
    }

    /// The cause, for the operator's log.
    pub(crate) fn cause(&self) -> String {
        match self {
            Self::Backend(failure) => chain(failure),
            Self::Empty => "the answer is empty".to_owned(),
            Self::Upstream(failure) => chain(failure),
        }
    }

    /// The error for the customer.
    pub(crate) fn error(&self) -> EngineError {
        match self {
            Self::Backend(InferenceError::Refused(_)) => EngineError::WorkRefused,
            Self::Backend(_) | Self::Empty => EngineError::WorkFailed,
            Self::Upstream(_) => EngineError::UpstreamFailed(self.message()),
        }
    }

    /// Whether the work may have been done, and must not be done again.
    pub(crate) const fn is_lost(&self) -> bool {
        matches!(self, Self::Upstream(failure) if failure.may_have_worked())
    }
}
