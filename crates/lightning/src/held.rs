//! Payments that are held.

use crate::PaymentHash;
use tithe_clock::Timestamp;
use tithe_money::Msats;

/// A payment that has arrived for a hold invoice, and that we have neither taken nor given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldPayment {
    /// The payment hash of the invoice.
    pub payment_hash: PaymentHash,
    /// The amount that is held.
    pub amount: Msats,
    /// When the payment goes back to the payer by itself. It must be settled before. A wallet counts in blocks: this is a time
    /// before which the block is most unlikely to come. `None` if the wallet does not say.
    pub held_until: Option<Timestamp>,
}
