//! Keys: the macaroons that a macaroon was narrowed from, by id.

use crate::Limit;
use crate::chain::Signature;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The id of a key: a macaroon as it is after some number of caveats. It is shown as 32 lowercase hex digits.
///
/// Macaroons narrowed from a common one share its key, and have different ones after the first caveat in which they
/// differ. The id is the first half of the SHA-256 of `tithe key` and the signature; it may be shown and logged, since it
/// doesn't reveal the signature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 16]);

impl KeyId {
    pub(crate) fn of(signature: &Signature) -> Self {
        let hash: [u8; 32] =
            Sha256::new().chain_update("tithe key").chain_update(signature.0).finalize().into();
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(hash) {
            *to = from;
        }
        Self(id)
    }

    /// The id that a store keeps as these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id as bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// The text is not a [`KeyId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid key id: expected 32 lowercase hex digits")]
pub struct InvalidKeyId;

impl FromStr for KeyId {
    type Err = InvalidKeyId;
    fn from_str(text: &str) -> Result<Self, InvalidKeyId> {
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id).map_err(|_| InvalidKeyId)?;
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) { Err(InvalidKeyId) } else { Ok(Self(id)) }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for KeyId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A key of a verified macaroon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The key's id.
    pub id: KeyId,
    /// The limit that the key's own caveat, the last one, sets on it. The first key has no caveat and no limit.
    pub limit: Option<Limit>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From Python's `hashlib`.
    #[test]
    fn a_key_id_is_half_a_hash_of_the_signature() {
        let id = KeyId::of(&Signature([7; 32]));
        assert_eq!(id.to_string(), "273b9e1595316a4a712d49113b2d6817");
        assert_eq!(KeyId::from_bytes(id.to_bytes()), id);
        assert_ne!(KeyId::of(&Signature([8; 32])), id);
    }

    #[test]
    fn a_key_id_reads_as_it_prints() {
        let id = KeyId::of(&Signature([7; 32]));
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(format!("{id:?}"), format!("KeyId({text})"));
        for wrong in ["", &text[1..], &format!("{text}0"), &text.to_uppercase(), &format!(" {}", &text[1..])]
        {
            assert_eq!(wrong.parse::<KeyId>(), Err(InvalidKeyId), "{wrong:?}");
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_key_id_is_serialized_as_text() {
        let id = KeyId::of(&Signature([7; 32]));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<KeyId>(&json).unwrap(), id);
        assert!(serde_json::from_str::<KeyId>("\"00\"").is_err());
    }
}
