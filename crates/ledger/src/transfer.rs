//! Transfers: what has happened, for ever.

use crate::{AccountId, LedgerError};
use std::fmt;
use tithe_clock::Timestamp;
use tithe_money::Msats;
use uuid::Uuid;

/// Why money moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransferKind {
    /// A customer paid an invoice of a job: `wallet → job`.
    JobPayment,
    /// Work was charged: `job | session → revenue`, what is left of it after the tithe.
    Charge,
    /// What was paid above the charge is owed back: `job → refunds_due`.
    RefundAccrued,
    /// What is below a sat and cannot be paid back: `job → rounding`.
    Rounding,
    /// A charge that the account could not cover: `operator → revenue`.
    Uncollected,
    /// The pool paid for work: `pool → revenue`.
    Grant,
    /// A part of what was paid for work goes into the pool: `job | session → pool`.
    Tithe,
    /// The pool's first money: `operator → pool`.
    PoolSeed,
    /// The operator moved money by hand: `operator → …` or back.
    Adjustment,
}

impl TransferKind {
    /// Every kind there is.
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

    /// The name that the stores use.
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

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What makes a transfer happen once: no two have the same key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferKey(String);

impl TransferKey {
    /// The key of that text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The key's text.
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

/// One movement of money: `amount` leaves `debit` and arrives at `credit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// What makes it unique.
    pub key: TransferKey,
    /// Where the money comes from.
    pub debit: AccountId,
    /// Where it goes.
    pub credit: AccountId,
    /// How much; never nothing.
    pub amount: Msats,
    /// Why.
    pub kind: TransferKind,
    /// What it is about: a job, a session, …
    pub reference: Uuid,
    /// When.
    pub created_at: Timestamp,
}

impl Transfer {
    /// Whether it is one: it moves something, between two accounts.
    ///
    /// # Errors
    /// [`LedgerError::Pointless`] otherwise.
    pub fn checked(self) -> Result<Self, LedgerError> {
        if self.amount.is_zero() || self.debit == self.credit {
            return Err(LedgerError::Pointless);
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
