//! Why the free tier rejects an operation.

use crate::ReservationId;
use tithe_ledger::{AccountId, LedgerError};
use tithe_money::{MoneyError, Msats};

/// The reason why the free tier rejected an operation. A rejected operation changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FreeTierError {
    /// The amount exceeds the rest of the budget (invariant I5).
    #[error("budget exceeded: {amount} requested, {used} of {budget} already used")]
    OverBudget {
        /// The part of the budget already in use.
        used: Msats,
        /// The amount requested.
        amount: Msats,
        /// The budget.
        budget: Msats,
    },
    /// A reservation must be for a positive amount.
    #[error("invalid reservation: expected a positive amount")]
    ZeroAmount,
    /// The identity already has an unpaid offer.
    #[error("unpaid offer exists: {0}; only one is allowed at a time")]
    OfferOpen(ReservationId),
    /// The reservation's state does not allow the operation.
    #[error("invalid reservation state: {reservation} is {state}")]
    Ended {
        /// The reservation.
        reservation: ReservationId,
        /// The reservation's state.
        state: &'static str,
    },
    /// The reservation has not expired.
    #[error("reservation not expired yet: {0}")]
    Live(ReservationId),
    /// The reservation belongs to a different identity.
    #[error("wrong identity: reservation {0} belongs to another identity")]
    OtherIdentity(ReservationId),
    /// The account is not the pool's.
    #[error("wrong account: expected the pool, got {0}")]
    NotThePool(AccountId),
    /// The pool's account has too little available.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// An amount is out of range.
    #[error(transparent)]
    Money(#[from] MoneyError),
}
