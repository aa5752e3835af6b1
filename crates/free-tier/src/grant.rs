//! Grants: the permanent record of what the pool has paid.

use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use tithe_clock::Timestamp;
use tithe_money::Msats;
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// The id of a grant, derived from the work that it paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GrantId(pub Uuid);

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for GrantId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// The SHA-256 of a request. It lets the grant log tell requests apart without storing them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(into = "String", try_from = "String"))]
pub struct RequestHash([u8; 32]);

impl RequestHash {
    /// Hashes a request.
    #[must_use]
    pub fn of(request: &str) -> Self {
        Self(Sha256::digest(request.as_bytes()).into())
    }

    /// Creates a hash from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash as bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

impl fmt::Display for RequestHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The text is not a SHA-256 in hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hex digits")]
pub struct InvalidRequestHash;

impl FromStr for RequestHash {
    type Err = InvalidRequestHash;
    fn from_str(text: &str) -> Result<Self, InvalidRequestHash> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidRequestHash)?;
        Ok(Self(bytes))
    }
}

impl From<RequestHash> for String {
    fn from(hash: RequestHash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for RequestHash {
    type Error = InvalidRequestHash;
    fn try_from(text: String) -> Result<Self, InvalidRequestHash> {
        text.parse()
    }
}

/// The pool's payment for one piece of work. Never changed or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Grant {
    /// The id, which identifies the piece of work.
    pub id: GrantId,
    /// The identity that received the grant.
    pub pubkey: NostrPubkey,
    /// The hash of the request.
    pub request_hash: RequestHash,
    /// The amount that the pool paid.
    pub absorbed: Msats,
    /// The pool's balance after the grant.
    pub pool_balance_after: Msats,
    /// When the grant was made.
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_reads_back() {
        let hash = RequestHash::of("hello");
        assert_eq!(hash.to_string(), "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!("xy".parse::<RequestHash>(), Err(InvalidRequestHash));
    }
}
