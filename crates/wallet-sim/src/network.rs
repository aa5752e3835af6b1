//! The simulated network: what lets one simulated wallet pay the invoices of another, with the true preimage.
//!
//! A preimage derives from the payment secret, which every payer finds in the invoice. In the real network that would let everybody
//! claim to have paid; here no money moves, and everybody may.

use lightning_invoice::Bolt11Invoice;
use sha2::{Digest, Sha256};
use tithe_lightning::{Bolt11, Preimage};

const TAG: &[u8] = b"tithe simulated network v1";

/// The preimage of the invoice with this payment secret.
pub(crate) fn preimage_of(payment_secret: &[u8; 32]) -> Preimage {
    Preimage::from_bytes(Sha256::new().chain_update(TAG).chain_update(payment_secret).finalize().into())
}

/// The preimage with which an invoice is paid; `None` if it is not of a simulated wallet.
pub(crate) fn preimage_for(request: &Bolt11) -> Option<Preimage> {
    let invoice: Bolt11Invoice = request.as_str().parse().ok()?;
    let preimage = preimage_of(&invoice.payment_secret().0);
    (preimage.payment_hash() == request.payment_hash()).then_some(preimage)
}
