//! What an L402 token is for: a payment.

use crate::{InvalidMacaroon, Macaroon, RootKey};
use std::fmt;

/// The version of the identifier, its first two bytes.
const VERSION: [u8; 2] = [0, 0];

/// The identifier of an L402 token, version 0: 66 bytes, a version of two bytes, the payment hash and the token's id.
///
/// Source: `macaroons.md` in the specification of L402.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identifier {
    /// The hash of the payment that makes the token valid.
    pub payment_hash: [u8; 32],
    /// The id of the token, of the server's choice.
    pub token_id: [u8; 32],
}

impl Identifier {
    /// The length of an identifier, in bytes.
    pub const LENGTH: usize = 66;

    /// The identifier as it is in a macaroon.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let parts = VERSION.iter().chain(&self.payment_hash).chain(&self.token_id);
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// Reads an identifier from the bytes in a macaroon.
    ///
    /// # Errors
    /// [`InvalidIdentifier`] if it has another length or version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidIdentifier> {
        let ids = bytes.strip_prefix(&VERSION).ok_or(InvalidIdentifier)?;
        let (payment_hash, token_id) = ids.split_first_chunk().ok_or(InvalidIdentifier)?;
        let token_id = token_id.try_into().map_err(|_| InvalidIdentifier)?;
        Ok(Self { payment_hash: *payment_hash, token_id })
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identifier")
            .field("payment_hash", &hex::encode(self.payment_hash))
            .field("token_id", &hex::encode(self.token_id))
            .finish()
    }
}

/// The bytes are not an [`Identifier`]: the macaroon is for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid L402 token: expected an identifier of {} bytes, version 0", Identifier::LENGTH)]
pub struct InvalidIdentifier;

/// Mints the token for a payment: a macaroon without caveats. The same identifier gives the same token.
///
/// `secret` is the server's, of at least 16 bytes that cannot be guessed; the root key derives from it and the identifier
/// ([`RootKey::derive`]). `location` names the service; every holder can read it.
///
/// # Errors
/// [`InvalidMacaroon::NoLocation`] and [`InvalidMacaroon::TooLong`], both for `location`.
pub fn mint(secret: &[u8], location: &str, identifier: &Identifier) -> Result<Macaroon, InvalidMacaroon> {
    let identifier = identifier.to_bytes();
    Macaroon::mint(&RootKey::derive(secret, &identifier), location, &identifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTIFIER: Identifier = Identifier { payment_hash: [0xaa; 32], token_id: [0xbb; 32] };

    #[test]
    fn an_identifier_is_a_version_a_payment_hash_and_a_token_id() {
        let bytes = IDENTIFIER.to_bytes();
        assert_eq!(bytes, [&[0, 0][..], &[0xaa; 32], &[0xbb; 32]].concat()[..]);
        assert_eq!(Identifier::from_bytes(&bytes), Ok(IDENTIFIER));
    }

    /// Signed by pymacaroons.
    #[test]
    fn a_token_is_the_macaroon_that_other_libraries_make() {
        use base64::Engine as _;
        use sha2::Digest as _;
        let root: Vec<u8> = (0..32).collect();
        let payment_hash = sha2::Sha256::digest([0x11; 32]).into();
        let identifier = Identifier { payment_hash, token_id: [0x22; 32] }.to_bytes();
        let token = Macaroon::mint(&RootKey::from_bytes(&root), &"LSAT".to_lowercase(), &identifier).unwrap();
        let token = token.narrow_by_bytes(b"services=chat:0").unwrap();
        let token = token.narrow_by_bytes(b"chat_valid_until=1900000000").unwrap().encode_standard();
        let hex = hex::encode(base64::engine::general_purpose::STANDARD.decode(token).unwrap());
        let hash = "02d449a31fbb267c8f352e9968a79e3e5fc95c1bbeaa502fd6454ebde5a4bedc";
        let start = format!("0201046c7361740242{}{hash}{}00", "00".repeat(2), "22".repeat(32));
        assert!(hex.starts_with(&start), "{hex}");
        let signature = "d28f5ab1c2d169147a1c60a182de15bceb3b6783cd47f29a87981ed718b92d52";
        assert!(hex.ends_with(&format!("000620{signature}")), "{hex}");
    }

    #[test]
    fn another_version_or_length_is_refused() {
        let bytes = IDENTIFIER.to_bytes();
        let version_1 = [&[0, 1][..], &bytes[2..]].concat();
        let version_256 = [&[1, 0][..], &bytes[2..]].concat();
        let longer = [&bytes[..], &[0]].concat();
        let session = b"session:00000000-0000-0000-0000-000000000000";
        for wrong in
            [&b""[..], &[0, 0], &bytes[..65], &bytes[..34], &version_1, &version_256, &longer, session]
        {
            assert_eq!(Identifier::from_bytes(wrong), Err(InvalidIdentifier), "{wrong:?}");
        }
    }

    #[test]
    fn one_identifier_has_one_token_for_each_secret() {
        let token = |secret: &[u8]| mint(secret, "tithe", &IDENTIFIER).unwrap().encode();
        assert_eq!(token(&[1; 32]), token(&[1; 32]));
        assert_ne!(token(&[1; 32]), token(&[2; 32]));
    }
}
