//! Errors of the test network.

use std::io;
use tithe_lightning::Bolt11Error;
use tithe_money::MoneyError;

/// The reason why a part of the test network did not start or did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LightningError {
    /// A system call failed.
    #[error("{doing} failed")]
    Io {
        /// The operation: "binding a loopback port", ….
        doing: &'static str,
        /// The system error.
        #[source]
        source: io::Error,
    },
    /// A condition did not come true within the time limit.
    #[error("timed out: {0}")]
    TimedOut(&'static str),
    /// LDK refused an operation.
    #[error("{doing} failed: {reason}")]
    Ldk {
        /// The operation: "opening a channel", ….
        doing: &'static str,
        /// LDK's reason.
        reason: String,
    },
    /// An amount is out of range.
    #[error("amount out of range")]
    Amount(#[from] MoneyError),
    /// An invoice could not be read.
    #[error("invalid invoice")]
    Invoice(#[from] Bolt11Error),
    /// The options contradict each other, or what the protocol allows.
    #[error("invalid options: {0}")]
    Options(&'static str),
    /// The network has been dropped.
    #[error("the network has stopped")]
    Stopped,
}

/// The reason why a payment was not attempted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayError {
    /// The node has paid this invoice.
    #[error("this invoice has already been paid")]
    AlreadyPaid,
    /// A payment of this invoice is in flight.
    #[error("another payment is in progress for that invoice")]
    InProgress,
    /// The invoice has no amount, and none was given.
    #[error("missing amount: the invoice has none")]
    AmountMissing,
    /// The given amount is less than the invoice's.
    #[error("amount too small: less than the invoice's amount")]
    AmountTooSmall,
    /// The invoice cannot be read.
    #[error("invalid invoice")]
    Invalid,
    /// The payment was still in flight when the time limit ended.
    #[error("timed out: the payment is still in flight")]
    StillInFlight,
}

/// The reason why a hold invoice was neither settled nor cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HoldError {
    /// No payment is held.
    #[error("no payment is held for this invoice")]
    NotHeld,
    /// The node has neither taken the payment nor given it back within the time limit.
    #[error("timed out: the payment is neither settled nor returned")]
    Undecided,
}

/// Adds the operation to a system error.
pub(crate) trait Doing<T> {
    fn doing(self, what: &'static str) -> Result<T, LightningError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: &'static str) -> Result<T, LightningError> {
        self.map_err(|source| LightningError::Io { doing: what, source })
    }
}
