//! One payment of what is due.

use tithe_clock::Timestamp;
use tithe_ledger::AccountId;
use tithe_lightning::{PaymentHash, PaymentId, Preimage};
use tithe_money::{Msats, Sats};

/// The state of a payout.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum PayoutState {
    /// The wallet was, or is about to be, told to pay: the outcome is unknown until the wallet says it.
    Paying {
        /// When the last attempt was committed, before the wallet was called.
        since: Timestamp,
    },
    /// The customer was paid.
    Paid {
        /// The preimage: the proof of payment.
        preimage: Preimage,
        /// The routing fee.
        fee: Msats,
    },
    /// It is certain that nothing was paid.
    Failed {
        /// The reason, for the operator.
        reason: String,
    },
}

impl PayoutState {
    /// The name used by the stores and the terminal.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Paying { .. } => "paying",
            Self::Paid { .. } => "paid",
            Self::Failed { .. } => "failed",
        }
    }
}

/// A payment to a customer. Its payment hash identifies it: no invoice is used for two obligations.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Payout {
    /// The payment hash of the invoice.
    pub payment_hash: PaymentHash,
    /// Our id of the present attempt, which the wallet knows too.
    pub id: PaymentId,
    /// The account of the obligation.
    pub account: AccountId,
    /// The invoice.
    pub payment_request: String,
    /// What the customer is paid.
    pub amount: Sats,
    /// What the routing fee may be.
    pub fee_limit: Sats,
    /// The state.
    pub state: PayoutState,
    /// How often the wallet was told to pay, or was about to be.
    pub attempts: u32,
    /// How often the outcome of the present attempt was looked up.
    pub looks: u32,
    /// When the outcome is looked up next.
    pub next_look_at: Timestamp,
    /// When the payout was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}
