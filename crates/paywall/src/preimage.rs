//! Hashes and preimages of payments, as bytes: `tithe-lightning` has types for them.

use sha2::{Digest as _, Sha256};

/// 32 bytes of 64 hex digits, in either case.
pub(crate) fn bytes_of_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok().map(|()| bytes)
}

/// Whether the preimage is that of the payment hash. A payment hash is public, so nothing is learnt from how long this takes.
pub(crate) fn proves(preimage: &[u8; 32], payment_hash: &[u8; 32]) -> bool {
    <[u8; 32]>::from(Sha256::digest(preimage)) == *payment_hash
}
