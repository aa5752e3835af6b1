//! HMACs: the chain of a macaroon.

use hmac::digest::CtOutput;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

pub(crate) type HmacSha256 = Hmac<Sha256>;

/// The key with which libmacaroons derives the first key of the chain from a root key.
const KEY_GENERATOR: &[u8] = b"macaroons-key-generator";
const PURPOSE: &[u8] = b"tithe macaroon root key v1\0";

/// The key that mints and verifies the macaroons of one identifier. `Debug` hides it.
#[derive(Clone)]
pub struct RootKey([u8; 32]);

impl RootKey {
    /// Derives the root key of `identifier` from a server secret, so that verifying a macaroon needs no look-up.
    ///
    /// `secret` must not be guessable: at least 16 bytes, better 32 random ones. The root key is HMAC-SHA-256, keyed with the
    /// secret, of `tithe macaroon root key v1`, a zero byte and the identifier; other uses of the same secret don't
    /// collide with it.
    #[must_use]
    pub fn derive(secret: &[u8], identifier: &[u8]) -> Self {
        let root_key = hmac(secret, &[PURPOSE, identifier]).finalize().into_bytes();
        Self::from_bytes(&root_key)
    }

    /// The root key as other implementations take it: any bytes, from which libmacaroons derives the first key of the chain.
    #[must_use]
    pub fn from_bytes(root_key: &[u8]) -> Self {
        Self(hmac(KEY_GENERATOR, &[root_key]).finalize().into_bytes().into())
    }

    /// The signature of a macaroon without caveats.
    pub(crate) fn sign(&self, identifier: &[u8]) -> Signature {
        Signature(hmac(&self.0, &[identifier]).finalize().into_bytes().into())
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(…)")
    }
}

/// The signature of a macaroon: who has it can narrow the macaroon. `Debug` hides it, and it is compared in constant time.
#[derive(Clone)]
pub(crate) struct Signature(pub [u8; 32]);

impl Signature {
    /// The signature after another caveat.
    pub fn narrow(&self, caveat: &[u8]) -> Self {
        Self(hmac(&self.0, &[caveat]).finalize().into_bytes().into())
    }

    /// Compares in constant time.
    pub fn is(&self, other: &Self) -> bool {
        let output = |signature: &Self| CtOutput::<HmacSha256>::new(signature.0.into());
        output(self) == output(other)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(…)")
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length; the error cannot occur")]
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> HmacSha256 {
    let hmac = HmacSha256::new_from_slice(key).expect("HMAC takes any key");
    parts.iter().fold(hmac, Mac::chain_update)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the README of libmacaroons.
    #[test]
    fn the_chain_is_that_of_libmacaroons() {
        let key = RootKey::from_bytes(b"this is our super secret key; only we should know it");
        let signature = key.sign(b"we used our secret key");
        let hex = "e3d9e02908526c4c0039ae15114115d97fdd68bf2ba379b342aaf0f617d0552f";
        assert_eq!(hex::encode(signature.0), hex);
        let hex = "197bac7a044af33332865b9266e26d493bdd668a660e44d88ce1a998c23dbd67";
        assert_eq!(hex::encode(signature.narrow(b"test = caveat").0), hex);
    }

    /// The key of the chain for the secret "kkkkkkkkkkkkkkkk", from Python's `hmac` module.
    #[test]
    fn a_derived_root_key_is_of_one_secret_and_one_identifier() {
        let of = |secret: &[u8], identifier: &[u8]| RootKey::derive(secret, identifier).0;
        let hex = "4a4039d177d91e5f33c851b69ff8a98bc7637023d058d6d43f54fa0382859071";
        assert_eq!(hex::encode(of(&[b'k'; 16], b"session:1")), hex);
        assert_ne!(of(&[b'k'; 16], b"session:1"), of(&[b'l'; 16], b"session:1"));
        assert_ne!(of(&[b'k'; 16], b"session:1"), of(&[b'k'; 16], b"session:2"));
    }

    #[test]
    fn no_debug_shows_a_key_or_a_signature() {
        let key = RootKey(*b"hunter2 hunter2 hunter2 hunter2 ");
        let shown = format!("{key:?} {:?}", Signature(key.0));
        assert_eq!(shown, "RootKey(…) Signature(…)");
    }

    #[test]
    fn signatures_are_equal_only_if_every_byte_is() {
        let signature = RootKey::from_bytes(b"key").sign(b"identifier");
        assert!(signature.is(&signature.clone()));
        for byte in 0..32 {
            let mut other = signature.clone();
            other.0[byte] ^= 1;
            assert!(!signature.is(&other), "{byte}");
        }
    }
}
