//! Why a use case did not do what was asked.

use crate::commands::Refusal;
use crate::committer::{CommitError, chain};
use crate::store::StoreError;
use tithe_jobs::JobId;
use tithe_lightning::{PaymentHash, TestPaymentError};
use tithe_money::MoneyError;
use tithe_pricing::{PriceError, QuoteError};
use tracing::error;

/// What is wrong with a request. `Display` names the field and says how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No text, or only white space.
    #[error("request is empty: say what you want done")]
    Empty,
    /// More text than the server takes.
    #[error("request has {bytes} bytes; at most {limit} are taken")]
    TooLong {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
    /// A character that no text has.
    #[error(
        "request has the control character U+{code:04X} at character {position}; only tab and line breaks are taken"
    )]
    ControlCharacter {
        /// Which character.
        code: u32,
        /// Where, counted in characters from 0.
        position: usize,
    },
    /// A model that is not offered.
    #[error("model {name:?} is not offered here")]
    UnknownModel {
        /// What was asked for.
        name: String,
    },
    /// It cannot be quoted.
    #[error("{0}")]
    Unquotable(QuoteError),
}

impl RequestError {
    /// The field of the request that is wrong.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::UnknownModel { .. } => "model",
            Self::Unquotable(QuoteError::OutputLimit { .. }) => "maxOutputTokens",
            _ => "request",
        }
    }
}

/// Why a use case failed. What may be shown to customers is in `Display`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The request is wrong.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// What was presented as an identity is none. In words that may be shown.
    #[error("{0}")]
    InvalidIdentity(String),
    /// There is no such job.
    #[error("there is no job {0}")]
    NoSuchJob(JobId),
    /// There is no such invoice.
    #[error("there is no invoice {0}")]
    NoSuchInvoice(PaymentHash),
    /// The key came with another request before.
    #[error("this Idempotency-Key was used with another request")]
    IdempotencyKeyReused,
    /// The first request of this key still runs.
    #[error("the first request with this Idempotency-Key is still being answered; ask again shortly")]
    RequestInProgress,
    /// Too many invoices are unpaid already.
    #[error("too many invoices are waiting to be paid; try again later")]
    TooManyUnpaid,
    /// No BTC price is known that is fresh enough to sell at.
    #[error("no current BTC price is known, so nothing can be priced; try again later")]
    NoPrice(#[source] PriceError),
    /// The wallet cannot make an invoice now.
    #[error("the Lightning wallet cannot be reached; try again later")]
    NoWallet,
    /// The server is too busy, or its database is not available.
    #[error("the server is too busy, or its database is away; try again later")]
    Busy,
    /// The database went away while it wrote: it has happened, or not.
    #[error(
        "the database went away before it said whether this was done; the same request with the same Idempotency-Key tells"
    )]
    OutcomeUnknown,
    /// A test payment was refused.
    #[error(transparent)]
    TestPayment(TestPaymentError),
    /// Something else, which the log tells.
    #[error(
        "something went wrong on the server; the same request with the same Idempotency-Key may be repeated"
    )]
    Internal,
}

impl From<StoreError> for EngineError {
    fn from(cause: StoreError) -> Self {
        match cause {
            StoreError::Unavailable(_) => Self::Busy,
            StoreError::OutcomeUnknown(_) => Self::OutcomeUnknown,
            StoreError::Corrupt { .. } | StoreError::Failed(_) => {
                error!(cause = chain(&cause), "the database failed");
                Self::Internal
            }
        }
    }
}

impl From<CommitError> for EngineError {
    fn from(cause: CommitError) -> Self {
        match cause {
            CommitError::Busy => Self::Busy,
            CommitError::Refused(Refusal::IdempotencyKeyReused) => Self::IdempotencyKeyReused,
            CommitError::Refused(Refusal::RequestInProgress) => Self::RequestInProgress,
            CommitError::Refused(refusal @ Refusal::ProofUsed) => Self::InvalidIdentity(refusal.to_string()),
            CommitError::Refused(Refusal::NoSuchJob(id)) => Self::NoSuchJob(id),
            CommitError::Refused(Refusal::NoSuchInvoice(hash)) => Self::NoSuchInvoice(hash),
            CommitError::Refused(refusal) => {
                error!(%refusal, "a command was refused unexpectedly");
                Self::Internal
            }
            CommitError::Failed => Self::Internal,
            CommitError::Unknown => Self::OutcomeUnknown,
        }
    }
}

impl From<QuoteError> for EngineError {
    fn from(cause: QuoteError) -> Self {
        Self::Request(RequestError::Unquotable(cause))
    }
}

impl From<MoneyError> for EngineError {
    fn from(cause: MoneyError) -> Self {
        error!(%cause, "an amount cannot be expressed");
        Self::Internal
    }
}
