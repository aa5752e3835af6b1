//! What a proof of payment is bound to: the request that it pays for.

use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// What the hash begins with, so that no other hash in use equals it.
const PURPOSE: &[u8] = b"tithe request digest v1\0";

/// The digest of a request: its method, its path with the query, its payer and its body. It is shown as 64 lowercase hex
/// digits.
///
/// A payment is made for one request, and its digest is stored with the payment; a proof that arrives with another
/// request is recognized by it. It is the SHA-256 of `tithe request digest v1`, a zero byte, then method, path and payer,
/// each after its length as eight bytes, big endian, and last the SHA-256 of the body. So no two requests have the same
/// input.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestDigest([u8; 32]);

impl RequestDigest {
    /// The digest of a request.
    ///
    /// `method` is the HTTP method, in capitals; `path_and_query` what follows the authority in the URL, as it was sent;
    /// `payer` who may use the payment, in any notation in which different payers differ.
    #[must_use]
    pub fn of(method: &str, path_and_query: &str, payer: &str, body: &[u8]) -> Self {
        let mut hash = Sha256::new_with_prefix(PURPOSE);
        for part in [method, path_and_query, payer] {
            // A `usize` has at most 64 bits.
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            hash.update(length.to_be_bytes());
            hash.update(part);
        }
        hash.update(Sha256::digest(body));
        Self(hash.finalize().into())
    }

    /// The digest that a store keeps as these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest as bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

impl fmt::Display for RequestDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for RequestDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestDigest({self})")
    }
}

/// The text is not a [`RequestDigest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid request digest: expected 64 lowercase hex digits")]
pub struct InvalidRequestDigest;

impl FromStr for RequestDigest {
    type Err = InvalidRequestDigest;
    fn from_str(text: &str) -> Result<Self, InvalidRequestDigest> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidRequestDigest)?;
        let is_lowercase = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        if is_lowercase { Ok(Self(bytes)) } else { Err(InvalidRequestDigest) }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for RequestDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for RequestDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest() -> RequestDigest {
        RequestDigest::of("POST", "/api/ask?a=b", "anonymous", b"{}")
    }

    /// From Python's `hashlib` and `struct`.
    #[test]
    fn a_digest_is_of_lengths_parts_and_the_hash_of_the_body() {
        assert_eq!(digest().to_string(), "1f13205fc449ca4ac81730f68331b03c043e438c6de761fa7af5b476177546ca");
        assert_eq!(RequestDigest::from_bytes(digest().to_bytes()), digest());
    }

    #[test]
    fn a_digest_reads_as_it_prints() {
        let text = digest().to_string();
        assert_eq!(text.parse(), Ok(digest()));
        assert_eq!(format!("{:?}", digest()), format!("RequestDigest({text})"));
        for wrong in ["", &text[1..], &format!("{text}0"), &text.to_uppercase(), &format!("g{}", &text[1..])]
        {
            assert_eq!(wrong.parse::<RequestDigest>(), Err(InvalidRequestDigest), "{wrong:?}");
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_digest_is_serialized_as_text() {
        let json = serde_json::to_string(&digest()).unwrap();
        assert_eq!(json, format!("\"{}\"", digest()));
        assert_eq!(serde_json::from_str::<RequestDigest>(&json).unwrap(), digest());
        assert!(serde_json::from_str::<RequestDigest>("\"00\"").is_err());
    }

    type Request = (String, String, String, Vec<u8>);

    /// Few different characters, so that the same text often comes about from different parts.
    fn request() -> impl Strategy<Value = Request> {
        ("[ab]{0,2}", "[ab]{0,2}", "[ab]{0,2}", prop::collection::vec(b'a'..=b'b', 0..3))
    }

    proptest! {
        #[test]
        fn different_requests_have_different_digests(one in request(), other in request()) {
            let of = |request: &Request| RequestDigest::of(&request.0, &request.1, &request.2, &request.3);
            prop_assert_eq!(of(&one) == of(&other), one == other);
        }
    }
}
