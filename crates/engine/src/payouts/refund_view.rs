//! What customers see of what is owed to them.

use tithe_clock::Timestamp;
use tithe_lightning::PaymentHash;
use tithe_money::Sats;
use tithe_payouts::{ObligationState, PayoutQuote};

/// What is owed to a customer, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundView {
    /// The state.
    pub state: ObligationState,
    /// Everything that was ever owed.
    pub accrued: Sats,
    /// What is due still, and how much of it can be paid.
    pub quote: PayoutQuote,
    /// The payment that was made last, or is in flight.
    pub payment_hash: Option<PaymentHash>,
    /// Whether the customer has said where to pay to.
    pub has_destination: bool,
    /// Why nothing was paid yet.
    pub problem: Option<String>,
    /// When any of this last changed.
    pub updated_at: Timestamp,
}
