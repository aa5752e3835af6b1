//! The server's secrets, and the MACs computed with them.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use tithe_clock::Entropy;

/// A server secret: at least [`Secret::BYTES_MIN`] bytes, better 32 random ones. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The minimum length in bytes. A shorter secret can be guessed, and with it every token could be forged.
    pub const BYTES_MIN: usize = 16;

    /// Creates a secret from its bytes.
    ///
    /// # Errors
    /// [`ShortSecret`] for fewer than [`Secret::BYTES_MIN`] bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, ShortSecret> {
        let bytes = bytes.into();
        if bytes.len() < Self::BYTES_MIN {
            return Err(ShortSecret { length: bytes.len() });
        }
        Ok(Self(bytes))
    }

    /// A new secret of 32 random bytes.
    #[must_use]
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(entropy.bytes::<32>().to_vec())
    }

    /// The secret's bytes, for deriving a MAC key.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The secret is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("secret too short: expected at least {} bytes, got {length}", Secret::BYTES_MIN)]
pub struct ShortSecret {
    /// The length of the text that was passed, in bytes.
    pub length: usize,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The server's secrets: the first one signs and all of them verify, so that a secret can be rotated without rejecting
/// what the previous one has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets {
    first: Secret,
    others: Vec<Secret>,
}

impl Secrets {
    /// Secrets of which `first` signs and all verify.
    #[must_use]
    pub fn new(first: Secret, others: Vec<Secret>) -> Self {
        Self { first, others }
    }

    /// The secret that signs.
    #[must_use]
    pub fn first(&self) -> &Secret {
        &self.first
    }

    /// All secrets, the signing one first.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// A MAC key (HMAC-SHA-256) derived from a secret for one purpose. `Debug` hides it.
///
/// Every message is prefixed with the purpose and a zero byte, so a MAC made for one purpose is never valid for
/// another, although the secret is the same.
#[derive(Clone)]
pub struct MacKey(Hmac<Sha256>);

impl MacKey {
    /// The minimum length of a truncated tag: 128 bits cannot be guessed.
    pub const SHORTEST_TAG: usize = 16;

    /// Creates the key for `purpose`, a text such as `tithe identity token v1`.
    #[must_use]
    pub fn new(secret: &Secret, purpose: &str) -> Self {
        Self(hmac(secret).chain_update(purpose).chain_update([0]))
    }

    /// Computes the tag of `message`.
    #[must_use]
    pub fn tag(&self, message: &[u8]) -> [u8; 32] {
        self.0.clone().chain_update(message).finalize().into_bytes().into()
    }

    /// Verifies in constant time that `tag` is the message's tag, or a prefix of it with at least
    /// [`MacKey::SHORTEST_TAG`] bytes.
    #[must_use]
    pub fn is_tag(&self, message: &[u8], tag: &[u8]) -> bool {
        tag.len() >= Self::SHORTEST_TAG
            && self.0.clone().chain_update(message).verify_truncated_left(tag).is_ok()
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length; the error cannot occur")]
fn hmac(secret: &Secret) -> Hmac<Sha256> {
    Hmac::new_from_slice(&secret.0).expect("HMAC takes any key")
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::secret;

    #[test]
    fn no_debug_shows_a_secret() {
        let secrets = Secrets::new(secret("hunter2"), vec![secret("hunter3")]);
        let shown = format!("{secrets:?} {:?}", MacKey::new(secrets.first(), "a purpose"));
        assert!(!shown.contains("hunter") && !shown.contains("104"), "{shown}");
    }

    #[test]
    fn the_first_makes_and_all_check() {
        let secrets = Secrets::new(secret("new"), vec![secret("old"), secret("older")]);
        assert_eq!(secrets.first(), &secret("new"));
        assert!(secrets.iter().eq([&secret("new"), &secret("old"), &secret("older")]));
    }

    #[test]
    fn a_tag_is_of_one_secret_one_purpose_and_one_message() {
        let key = |secret: &str, purpose: &str| MacKey::new(&self::secret(secret), purpose);
        let tag = key("s", "one").tag(b"message");
        assert!(key("s", "one").is_tag(b"message", &tag));
        assert!(!key("t", "one").is_tag(b"message", &tag));
        assert!(!key("s", "two").is_tag(b"message", &tag));
        assert!(!key("s", "one").is_tag(b"massage", &tag));
        // A purpose that is a prefix of another purpose does not accept its messages.
        assert!(!key("s", "on").is_tag(b"e\0message", &tag));
    }

    #[test]
    fn half_a_tag_is_enough_and_less_is_not() {
        let key = MacKey::new(&secret("s"), "one");
        let tag = key.tag(b"message");
        for length in 0..=tag.len() {
            assert_eq!(key.is_tag(b"message", &tag[..length]), length >= 16, "{length}");
        }
        assert!(!key.is_tag(b"message", &[&tag[..], &[0]].concat()));
        assert!(!key.is_tag(b"message", &tag[1..17]));
    }

    #[test]
    fn a_short_secret_is_refused() {
        for length in 0..40 {
            let made = Secret::new(vec![7; length]);
            assert_eq!(made.is_ok(), length >= 16, "{length}");
        }
        let error = Secret::new("hunter2").unwrap_err().to_string();
        assert_eq!(error, "secret too short: expected at least 16 bytes, got 7");
        let entropy = tithe_clock::SeededEntropy::new(1);
        assert_ne!(Secret::random(&entropy), Secret::random(&entropy));
    }

    /// HMAC-SHA-256 of "p\0m" with the key "kkkkkkkkkkkkkkkk", from Python's `hmac` module.
    #[test]
    fn a_tag_is_hmac_sha_256() {
        let tag = MacKey::new(&Secret::new([b'k'; 16]).unwrap(), "p").tag(b"m");
        assert_eq!(hex::encode(tag), "6a58024b5dcae048d044debb02dc29f7365029c07c6a478f34732caf2ef70f87");
    }
}
