//! The digest of a body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// The SHA-256 of a request's body, written `sha-256=:<base64>:` (RFC 9530).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentDigest([u8; 32]);

impl ContentDigest {
    /// The digest of a body.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        Self(Sha256::digest(body).into())
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha-256=:{}:", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentDigest({self})")
    }
}

impl FromStr for ContentDigest {
    type Err = InvalidContentDigest;
    fn from_str(text: &str) -> Result<Self, InvalidContentDigest> {
        let base64 = text.strip_prefix("sha-256=:").and_then(|rest| rest.strip_suffix(':'));
        let bytes = base64.and_then(|base64| STANDARD.decode(base64).ok()).ok_or(InvalidContentDigest)?;
        bytes.try_into().map(Self).map_err(|_| InvalidContentDigest)
    }
}

/// The text is not a [`ContentDigest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid digest: expected sha-256=:<base64 of 32 bytes>:")]
pub struct InvalidContentDigest;

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 9530, section 2, and of `draft-httpauth-payment-00`.
    #[test]
    fn a_digest_is_written_as_rfc_9530_says() {
        let digest = ContentDigest::of(b"{\"hello\": \"world\"}");
        assert_eq!(digest.to_string(), "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for wrong in [
            "",
            "sha-256=:X48E9q:",
            "sha-256=X48E9q",
            "sha-512=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
        ] {
            assert_eq!(wrong.parse::<ContentDigest>(), Err(InvalidContentDigest), "{wrong:?}");
        }
    }
}
