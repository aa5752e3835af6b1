//! Our own ids of what a wallet does for us.

use crate::{OwnerId, Purpose};
use sha2::{Digest, Sha256};
use std::fmt;
use tithe_clock::Entropy;
use uuid::Uuid;

/// Our own id for a requested invoice. It is chosen before the wallet is called, so that retries are idempotent and the
/// outcome of a lost response can be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct InvoiceId(pub Uuid);

impl InvoiceId {
    /// The id of the `nth` invoice (from 0) that `owner` has for `purpose`. It is deterministic and the same on every
    /// server.
    #[must_use]
    pub fn of(purpose: Purpose, owner: OwnerId, nth: u32) -> Self {
        let mut hash = Sha256::new().chain_update(purpose.as_str()).chain_update(owner.0.as_bytes());
        if nth > 0 {
            hash.update(nth.to_be_bytes());
        }
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl fmt::Display for InvoiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Our own id for an outgoing payment. It is chosen and stored before the wallet is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PaymentId(pub Uuid);

impl PaymentId {
    /// A new id.
    #[must_use]
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(uuid::Builder::from_random_bytes(entropy.bytes()).into_uuid())
    }
}

impl fmt::Display for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
