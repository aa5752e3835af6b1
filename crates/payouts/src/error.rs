//! Why an obligation or a payout does not take a step.

use tithe_ledger::LedgerError;
use tithe_lightning::{Bolt11Mismatch, PaymentHash};
use tithe_money::{MoneyError, Sats};

/// Why an obligation or a payout does not take a step. Nothing has changed. `Display` may be shown to the customer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayoutError {
    /// Nothing is owed.
    #[error("nothing is due")]
    NothingDue,
    /// The operator settles more than is due.
    #[error("too much: expected at most {due}, got {amount}")]
    TooMuch {
        /// What is due.
        due: Sats,
        /// What was to be settled.
        amount: Sats,
    },
    /// No more is owed than what the routing fee may be: dust, which no payment can carry.
    #[error("too small to be paid out: {due} are due, and the routing fee may be {fee_limit}")]
    Dust {
        /// What is due.
        due: Sats,
        /// What the routing fee may be.
        fee_limit: Sats,
    },
    /// A payment is in flight; its outcome must be known before there can be another one (invariant I6).
    #[error("a payment is in flight: {0}")]
    InFlight(PaymentHash),
    /// Nothing is in flight that could end.
    #[error("the payment is not in flight: {0}")]
    NotInFlight(PaymentHash),
    /// The invoice is not what was required.
    #[error("unsuitable invoice: {0}")]
    Invoice(Bolt11Mismatch),
    /// The invoice was used for another payout, or was paid before.
    #[error("the invoice was used before: {0}")]
    Used(PaymentHash),
    /// An invoice was named before anything is due.
    #[error("unsuitable invoice: expected a Lightning address, because the amount is not known yet")]
    InAdvance,
    /// The session cannot get the refund, for this reason.
    #[error("unsuitable session: expected an active session with a prepaid balance, but {0}")]
    Session(String),
    /// The customer has not said where to pay to, or says something else by now.
    #[error("the destination has changed")]
    Destination,
    /// The preimage does not hash to the payment hash.
    #[error("wrong preimage: it does not hash to {0}")]
    WrongPreimage(PaymentHash),
    /// An amount left its range.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// The ledger refused.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}
