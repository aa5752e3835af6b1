//! The payments of a node.

use tithe_clock::Timestamp;
use tithe_lightning::{Bolt11, PaymentHash, Preimage};
use tithe_money::Msats;
use uuid::Uuid;

/// An invoice of a node, and the payment that it has received.
#[derive(Debug, Clone)]
pub struct IncomingPayment {
    /// The invoice.
    pub invoice: Bolt11,
    /// The description in the invoice; `None` if the invoice has only its hash.
    pub description: Option<String>,
    /// The preimage, which the payer gets when the payment is received. That of a hold invoice is unknown until it is settled.
    pub preimage: Option<Preimage>,
    /// When the invoice was made.
    pub created_at: Timestamp,
    /// What was received; `None` while the invoice is unpaid.
    pub received: Option<Received>,
    /// What has become of a hold invoice; `None` for any other.
    pub hold: Option<Hold>,
}

/// What has become of a hold invoice. One that is settled has [`IncomingPayment::received`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// The state.
    pub state: HoldState,
    /// The height at which the payment goes back to its payer, once one has arrived.
    pub claim_deadline: Option<u32>,
}

/// The state of a hold invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldState {
    /// No payment has arrived.
    Open,
    /// A payment has arrived, and waits.
    Held,
    /// The payment is being settled, or was settled.
    Settling,
    /// The payment was given back.
    Cancelled,
    /// The payment went back because its time had run out.
    TimedOut,
}

impl IncomingPayment {
    /// The payment hash.
    #[must_use]
    pub const fn hash(&self) -> PaymentHash {
        self.invoice.payment_hash()
    }
}

/// What was received for an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// The amount.
    pub amount: Msats,
    /// When it was received.
    pub at: Timestamp,
}

/// An attempt to pay an invoice.
#[derive(Debug, Clone)]
pub struct OutgoingPayment {
    /// The id of the attempt.
    pub id: Uuid,
    /// The invoice.
    pub invoice: Bolt11,
    /// The amount that the receiver gets.
    pub amount: Msats,
    /// When the attempt began.
    pub created_at: Timestamp,
    /// The state of the attempt.
    pub state: OutgoingState,
}

impl OutgoingPayment {
    /// The payment hash.
    #[must_use]
    pub const fn hash(&self) -> PaymentHash {
        self.invoice.payment_hash()
    }

    /// The preimage and the fee, if the payment has succeeded.
    #[must_use]
    pub const fn succeeded(&self) -> Option<(Preimage, Msats)> {
        match self.state {
            OutgoingState::Succeeded { preimage, fee, .. } => Some((preimage, fee)),
            OutgoingState::InFlight | OutgoingState::Failed { .. } => None,
        }
    }
}

/// The state of an outgoing payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutgoingState {
    /// It may still succeed or fail.
    InFlight,
    /// It was received.
    Succeeded {
        /// The preimage.
        preimage: Preimage,
        /// The routing fee.
        fee: Msats,
        /// When the node learnt of it.
        at: Timestamp,
    },
    /// It failed, and nothing was sent.
    Failed {
        /// The reason.
        reason: FailureReason,
        /// When it failed.
        at: Timestamp,
    },
}

/// The reason why a payment failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureReason {
    /// The node has not enough balance.
    InsufficientBalance,
    /// No route was found, or none within the fee limit.
    NoRoute,
    /// The receiver rejected the payment.
    Rejected,
    /// The invoice has expired.
    Expired,
    /// All attempts failed on their way.
    RetriesExhausted,
    /// Something else.
    Other,
}

/// A change that a node learns of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentEvent {
    /// The payment of this invoice was received.
    Received(PaymentHash),
    /// The payment of this hold invoice has arrived.
    Held(PaymentHash),
    /// The attempt with this id has succeeded.
    Sent(Uuid),
    /// The attempt with this id has failed.
    Failed(Uuid),
}
