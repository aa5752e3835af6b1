//! The keys that sign and verify licences.

use ed25519_dalek::{Signature, Signer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use tithe_clock::Entropy;

/// The text is not a key. It does not repeat the text, which may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The text is not 64 hex digits.
    #[error("expected 64 hex digits for each key")]
    NotHex,
    /// The bytes are not an Ed25519 public key for which only its owner can sign.
    #[error("expected an Ed25519 public key")]
    NotPublicKey,
}

fn bytes_of(text: &str) -> Result<[u8; 32], InvalidKey> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidKey::NotHex)?;
    Ok(bytes)
}

/// The private key with which the operator signs licences (Ed25519, RFC 8032). `Debug` hides it, and its memory is cleared on drop.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key of 32 random bytes.
    #[must_use]
    pub fn from_bytes(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// A new random key.
    #[must_use]
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self::from_bytes(&entropy.bytes())
    }

    /// The 64 hex digits from which [`SigningKey::from_str`] reads the key again. Whoever has them can sign licences.
    #[must_use]
    pub fn expose_hex(&self) -> String {
        hex::encode(self.0.as_bytes())
    }

    /// The public key that verifies what this key has signed.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    /// The id of the pair of keys.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.verifying_key().id()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl FromStr for SigningKey {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        bytes_of(text).map(|seed| Self::from_bytes(&seed))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(… of {})", self.id())
    }
}

/// The public key that verifies licences. Reads and prints as 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// The id of the pair of keys.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(Sha256::digest(self.0.as_bytes())) {
            *to = from;
        }
        KeyId(id)
    }

    /// Whether the key's owner has signed the message. Strict: a signature has one spelling.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl FromStr for VerifyingKey {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let bytes = bytes_of(text)?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).map_err(|_| InvalidKey::NotPublicKey)?;
        // A weak key accepts signatures that nobody has made; one in another spelling would have another id.
        let is_usable = !key.is_weak() && key.to_edwards().compress().to_bytes() == bytes;
        if is_usable { Ok(Self(key)) } else { Err(InvalidKey::NotPublicKey) }
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0.as_bytes()))
    }
}

/// The id of a pair of keys: the first 8 bytes of the SHA-256 of the public key. Reads and prints as 16 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

/// The text is not the id of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid key id: expected 16 lower-case hex digits")]
pub struct InvalidKeyId;

impl FromStr for KeyId {
    type Err = InvalidKeyId;
    fn from_str(text: &str) -> Result<Self, InvalidKeyId> {
        let mut bytes = [0; 8];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidKeyId)?;
        let id = Self(bytes);
        if id.to_string() == text { Ok(id) } else { Err(InvalidKeyId) }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first test vector of RFC 8032, section 7.1.
    const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    const SIGNATURE: &str = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
                             5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";

    #[test]
    fn the_keys_and_signatures_are_those_of_rfc_8032() {
        let key: SigningKey = SEED.parse().unwrap();
        assert_eq!(key.verifying_key().to_string(), PUBLIC);
        assert_eq!(hex::encode(key.sign(b"")), SIGNATURE);
        let verifying: VerifyingKey = PUBLIC.parse().unwrap();
        assert!(verifying.has_signed(b"", &key.sign(b"")));
        assert!(!verifying.has_signed(b"x", &key.sign(b"")));
        // SHA-256 of the public key, from Python's `hashlib`.
        assert_eq!(verifying.id().to_string(), "21fe31dfa154a261");
        assert_eq!(key.expose_hex(), SEED);
    }

    #[test]
    fn debug_hides_the_private_key() {
        let key: SigningKey = SEED.parse().unwrap();
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("SigningKey(… of {})", key.id()));
        assert!(!shown.contains("9d61"));
    }

    #[test]
    fn what_is_not_a_key_is_refused_without_repeating_it() {
        for text in
            ["", "9d61", &SEED[1..], &format!("{SEED}00"), &SEED.replace('9', "g"), &format!(" {SEED}")]
        {
            assert_eq!(text.parse::<SigningKey>().unwrap_err(), InvalidKey::NotHex, "{text}");
            assert_eq!(text.parse::<VerifyingKey>().unwrap_err(), InvalidKey::NotHex, "{text}");
        }
        // Points of small order, one of them in a second spelling (y = p + 1); and a y that is on no point.
        let identity = format!("01{}", "00".repeat(31));
        let non_canonical = format!("ee{}7f", "ff".repeat(30));
        let no_point = format!("02{}", "00".repeat(31));
        for text in [identity, "00".repeat(32), non_canonical, no_point] {
            assert_eq!(text.parse::<VerifyingKey>().unwrap_err(), InvalidKey::NotPublicKey, "{text}");
        }
    }

    #[test]
    fn a_key_id_has_one_spelling() {
        let id: KeyId = "21fe31dfa154a261".parse().unwrap();
        assert_eq!(id.to_string(), "21fe31dfa154a261");
        for text in ["", "21FE31DFA154A261", "21fe31dfa154a2", "21fe31dfa154a26100", "21fe31dfa154a26g"] {
            assert_eq!(text.parse::<KeyId>(), Err(InvalidKeyId), "{text}");
        }
    }

    #[test]
    fn random_keys_differ() {
        let entropy = tithe_clock::SeededEntropy::new(1);
        assert_ne!(SigningKey::random(&entropy).id(), SigningKey::random(&entropy).id());
    }
}
