//! Transfers: the permanent record of money movements.

use crate::{AccountId, LedgerError};
use std::fmt;
use tithe_clock::Timestamp;
use tithe_money::Msats;
use uuid::Uuid;

/// The kind of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransferKind {
    /// A customer paid an invoice of a job: `wallet → job`.
    JobPayment,
    /// Work was charged: `job | session → revenue`, minus the pool's share.
    Charge,
    /// A payment in excess of the charge is refunded: `job → refunds_due`.
    RefundAccrued,
    /// A fraction of a sat that cannot be refunded: `job → rounding`.
    Rounding,
    /// A charge that the account could not cover: `operator → revenue`.
    Uncollected,
    /// The pool paid for work: `pool → revenue`.
    Grant,
    /// The pool's share of a payment for work: `job | session → pool`.
    Tithe,
    /// The pool's initial funding: `operator → pool`.
    PoolSeed,
    /// The operator moved money manually: `operator → …` or back.
    Adjustment,
}

impl TransferKind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::JobPayment,
        Self::Charge,
        Self::RefundAccrued,
        Self::Rounding,
        Self::Uncollected,
        Self::Grant,
        Self::Tithe,
        Self::PoolSeed,
        Self::Adjustment,
    ];

    /// The name used by the stores.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::JobPayment => "job_payment",
            Self::Charge => "charge",
            Self::RefundAccrued => "refund_accrued",
            Self::Rounding => "rounding",
            Self::Uncollected => "uncollected",
            Self::Grant => "grant",
            Self::Tithe => "tithe",
            Self::PoolSeed => "pool_seed",
            Self::Adjustment => "adjustment",
        }
    }

    /// Parses a kind's name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The idempotency key of a transfer: no two transfers have the same key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferKey(String);

impl TransferKey {
    /// Creates a key from text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TransferKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A movement of money: `amount` leaves `debit` and arrives at `credit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The idempotency key.
    pub key: TransferKey,
    /// The account debited.
    pub debit: AccountId,
    /// The account credited.
    pub credit: AccountId,
    /// The amount; never zero.
    pub amount: Msats,
    /// The kind of transfer.
    pub kind: TransferKind,
    /// The id of the job, session, … that the transfer is for.
    pub reference: Uuid,
    /// When the transfer was made.
    pub created_at: Timestamp,
}

impl Transfer {
    /// Checks that the transfer moves a positive amount between two different accounts.
    ///
    /// # Errors
    /// [`LedgerError::ZeroAmount`] otherwise.
    pub fn checked(self) -> Result<Self, LedgerError> {
        if self.amount.is_zero() || self.debit == self.credit {
            return Err(LedgerError::ZeroAmount);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_distinct_names() {
        for kind in TransferKind::ALL {
            assert_eq!(TransferKind::from_name(kind.name()), Some(kind));
        }
    }
}
