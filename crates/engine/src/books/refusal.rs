//! Why commands are refused.

use crate::records::KeyConflict;
use tithe_bootstrap::BootstrapError;
use tithe_free_tier::{Decision, FreeTierError};
use tithe_jobs::InvalidTransition;
use tithe_ledger::LedgerError;
use tithe_ledger::credits::{CreditError, TooManyInstalls};
use tithe_licences::LicenceId;
use tithe_lightning::{InvoiceError, PaymentHash};
use tithe_money::MoneyError;
use tithe_payouts::PayoutError;
use tithe_paywall::{KeyId, UsageError};
use tithe_sessions::SessionError;

/// A command has touched a row that it did not declare: a bug in the command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("undeclared row: the command used {kind} {key} without declaring it")]
pub struct UndeclaredRow {
    /// The kind of the row.
    pub kind: &'static str,
    /// The key of the row.
    pub key: String,
}

/// Why a command was refused. It has changed nothing, and no other command was affected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The row that the command is about does not exist.
    #[error("there is no {kind} {key}")]
    NotFound {
        /// The kind of the row.
        kind: &'static str,
        /// The key of the row.
        key: String,
    },
    /// The row that the command was to make exists already.
    #[error("{kind} {key} exists already")]
    Exists {
        /// The kind of the row.
        kind: &'static str,
        /// The key of the row.
        key: String,
    },
    /// The invoice belongs to another owner than the command says.
    #[error("invoice {0} belongs to another owner")]
    OtherOwner(PaymentHash),
    /// The row belongs to another identity than the command says.
    #[error("{kind} {key} belongs to another identity")]
    OtherIdentity {
        /// The kind of the row.
        kind: &'static str,
        /// The key of the row.
        key: String,
    },
    /// Another worker holds the lease by now.
    #[error("{kind} {key} was taken over by another worker")]
    LeaseLost {
        /// The kind of the row.
        kind: &'static str,
        /// The key of the row.
        key: String,
    },
    /// The idempotency key was used with another request.
    #[error("this Idempotency-Key was used with another request")]
    IdempotencyKeyReused,
    /// The first request with this idempotency key is still running.
    #[error("the first request with this Idempotency-Key is still running")]
    RequestInProgress,
    /// An earlier try of the request was abandoned, and its call of a mounted route may have been made.
    #[error("an earlier try of this request may have been done")]
    CallLost,
    /// The pool does not pay for all of the work.
    #[error("the pool pays {} of the price, not all of it", .0.absorb)]
    NotFree(Decision),
    /// The authentication nonce was consumed before, or has expired.
    #[error("this signed event was used before")]
    AuthNonceUsed,
    /// The free tier refused.
    #[error(transparent)]
    FreeTier(FreeTierError),
    /// The job cannot take that step.
    #[error(transparent)]
    Transition(#[from] InvalidTransition),
    /// A bootstrap does not take the step.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The session cannot take that step.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The key was revoked, or what it was narrowed from.
    #[error("key {0} was revoked")]
    KeyRevoked(KeyId),
    /// A limit of a key does not allow the request.
    #[error(transparent)]
    KeyUsage(#[from] UsageError),
    /// The install has no credit, or the credit does not take that step.
    #[error(transparent)]
    Credit(#[from] CreditError),
    /// Too many new installs have come from where this one comes from.
    #[error(transparent)]
    NewInstalls(#[from] TooManyInstalls),
    /// The licence was revoked.
    #[error("licence {0} was revoked")]
    LicenceRevoked(LicenceId),
    /// The invoice cannot change in that way.
    #[error(transparent)]
    Invoice(#[from] InvoiceError),
    /// A payout, or what is owed, does not take that step.
    #[error(transparent)]
    Payout(#[from] PayoutError),
    /// The ledger refused.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// An amount left its range.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// The command has a bug.
    #[error(transparent)]
    Undeclared(#[from] UndeclaredRow),
}

impl Refusal {
    /// The refusal for a row that does not exist.
    pub(crate) fn not_found(kind: &'static str, key: &impl ToString) -> Self {
        Self::NotFound { kind, key: key.to_string() }
    }

    /// The refusal for a row that exists already.
    pub(crate) fn exists(kind: &'static str, key: &impl ToString) -> Self {
        Self::Exists { kind, key: key.to_string() }
    }
}

impl From<FreeTierError> for Refusal {
    fn from(failure: FreeTierError) -> Self {
        match failure {
            // The pool's account has too little.
            FreeTierError::Ledger(failure) => Self::Ledger(failure),
            other => Self::FreeTier(other),
        }
    }
}

impl From<KeyConflict> for Refusal {
    fn from(conflict: KeyConflict) -> Self {
        match conflict {
            KeyConflict::Reused => Self::IdempotencyKeyReused,
            KeyConflict::InProgress => Self::RequestInProgress,
        }
    }
}
