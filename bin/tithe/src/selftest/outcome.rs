//! How a check ends.

use std::fmt;

/// What a check returns: nothing if it passed.
pub(super) type Checked<T = ()> = Result<T, Stop>;

/// Why a check ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// The server does not do what the contract says.
    Fault(Fault),
    /// The check does not apply to this server, or cannot be run.
    Skip(String),
    /// The check would spend more than the budget.
    OverBudget(String),
}

/// A difference between the contract and an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The request, such as `GET /api/pool`.
    pub(super) request: String,
    /// What the contract says.
    pub(super) expected: String,
    /// What came back.
    pub(super) got: String,
}

impl Stop {
    pub(super) fn skip(reason: impl Into<String>) -> Self {
        Self::Skip(reason.into())
    }

    pub(super) fn fault(
        request: impl Into<String>,
        expected: impl fmt::Display,
        got: impl fmt::Display,
    ) -> Self {
        let (expected, got) = (expected.to_string(), got.to_string());
        Self::Fault(Fault { request: request.into(), expected, got })
    }
}
