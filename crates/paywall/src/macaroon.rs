//! Macaroons: credentials that their holders can narrow.

use crate::chain::Signature;
use crate::format::{self, FormatError, Parts};
use crate::{Caveat, InvalidCaveat, KeyId, RootKey, Verified};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::fmt;
use std::str::FromStr;

/// Writes no padding, and reads with or without it. Only the canonical encoding of the last bytes is read.
const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_encode_padding(false)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);

/// A macaroon in the format of libmacaroons, version 2, with caveats that this server checks itself.
///
/// Its holder can [`narrow`](Macaroon::narrow) it, without the server, and hand the narrowed one on. It is a secret:
/// `Debug` shows neither its signature nor its text. Nothing in it may be trusted before
/// [`verify`](Macaroon::verify) has accepted it, and its location never: it is a hint, which the signature doesn't cover.
#[derive(Clone)]
pub struct Macaroon(Parts);

impl Macaroon {
    /// The maximum length of the text, in bytes.
    pub const TEXT_MAX: usize = 1024;
    /// The maximum number of caveats.
    pub const CAVEATS_MAX: usize = 32;
    /// The maximum length of the binary form: [`Macaroon::TEXT_MAX`] bytes as text.
    const BINARY_MAX: usize = Self::TEXT_MAX / 4 * 3;

    /// Mints a macaroon without caveats.
    ///
    /// `location` says where to present it, for instance as a URL; `identifier` says what it is for, for instance
    /// `session:` and a UUID. Both can be read by every holder.
    ///
    /// # Errors
    /// [`InvalidMacaroon::NoLocation`] if `location` is empty: pymacaroons would narrow the macaroon to an invalid one.
    /// [`InvalidMacaroon::TooLong`] if the text would be too long.
    pub fn mint(root_key: &RootKey, location: &str, identifier: &[u8]) -> Result<Self, InvalidMacaroon> {
        if location.is_empty() {
            return Err(InvalidMacaroon::NoLocation);
        }
        let signature = root_key.sign(identifier);
        let (location, identifier) = (location.to_owned(), identifier.to_vec());
        Self(Parts { location, identifier, caveats: Vec::new(), signature }).within_limits()
    }

    /// Narrows the macaroon by a caveat. Anybody who has the macaroon can do so; nobody can undo it.
    ///
    /// Macaroons narrowed by the same caveats in the same order are one and the same, so they share their
    /// limits. For limits of their own, their first caveats must differ.
    ///
    /// # Errors
    /// [`InvalidMacaroon::TooLong`] and [`InvalidMacaroon::TooManyCaveats`] if the macaroon would pass the limits.
    pub fn narrow(&self, caveat: &Caveat) -> Result<Self, InvalidMacaroon> {
        self.narrow_by_bytes(caveat.to_string().as_bytes())
    }

    fn narrow_by_bytes(&self, caveat: &[u8]) -> Result<Self, InvalidMacaroon> {
        let mut parts = self.0.clone();
        parts.signature = parts.signature.narrow(caveat);
        parts.caveats.push(caveat.to_vec());
        Self(parts).within_limits()
    }

    fn within_limits(self) -> Result<Self, InvalidMacaroon> {
        if self.0.caveats.len() > Self::CAVEATS_MAX {
            return Err(InvalidMacaroon::TooManyCaveats);
        }
        if format::encode(&self.0).len() > Self::BINARY_MAX {
            return Err(InvalidMacaroon::TooLong);
        }
        Ok(self)
    }

    /// Parses the text of a macaroon: base64url, or base64 with the standard alphabet, with or without padding.
    ///
    /// # Errors
    /// [`InvalidMacaroon`].
    pub fn parse(text: &str) -> Result<Self, InvalidMacaroon> {
        if text.len() > Self::TEXT_MAX {
            return Err(InvalidMacaroon::TooLong);
        }
        let base64 = if text.contains(['+', '/']) { STANDARD } else { URL_SAFE };
        let bytes = base64.decode(text).map_err(|_| InvalidMacaroon::NotBase64)?;
        let parts = format::decode(&bytes).map_err(|error| match error {
            FormatError::Malformed => InvalidMacaroon::Malformed,
            FormatError::ThirdPartyCaveat => InvalidMacaroon::ThirdPartyCaveat,
        })?;
        Self(parts).within_limits()
    }

    /// The text of the macaroon: base64url without padding.
    #[must_use]
    pub fn encode(&self) -> String {
        URL_SAFE.encode(format::encode(&self.0))
    }

    /// Where to present the macaroon: a hint, not covered by the signature; empty if there is none.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.0.location
    }

    /// What the macaroon is for, to find its root key with. It is not verified yet.
    #[must_use]
    pub fn identifier(&self) -> &[u8] {
        &self.0.identifier
    }

    /// The id of the macaroon's own key, the last of [`Verified::keys`], by which it can be revoked.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId::of(&self.0.signature)
    }

    /// Verifies the macaroon. The signature comes first, in constant time; the caveats are not even parsed if it is
    /// wrong.
    ///
    /// # Errors
    /// [`VerifyError::Signature`] if `root_key` didn't mint the macaroon or it was altered; [`VerifyError::Caveat`] if
    /// any caveat is unknown or malformed.
    pub fn verify(&self, root_key: &RootKey) -> Result<Verified, VerifyError> {
        let first = root_key.sign(&self.0.identifier);
        let mut keys = Vec::with_capacity(self.0.caveats.len());
        let mut signature: Signature = first.clone();
        for caveat in &self.0.caveats {
            signature = signature.narrow(caveat);
            keys.push(KeyId::of(&signature));
        }
        if !signature.is(&self.0.signature) {
            return Err(VerifyError::Signature);
        }
        let caveats = self.0.caveats.iter().map(Vec::as_slice);
        Ok(Verified::new(self.0.identifier.clone(), KeyId::of(&first), caveats.zip(keys))?)
    }

    /// Verifies the macaroon with each of the root keys, which were derived from several server secrets, so that a
    /// secret can be rotated: the first mints, all of them verify.
    ///
    /// # Errors
    /// Those of [`verify`](Macaroon::verify); [`VerifyError::Signature`] if there is no root key at all.
    pub fn verify_any(&self, root_keys: &[RootKey]) -> Result<Verified, VerifyError> {
        for root_key in root_keys {
            match self.verify(root_key) {
                Err(VerifyError::Signature) => {}
                verified => return verified,
            }
        }
        Err(VerifyError::Signature)
    }
}

impl FromStr for Macaroon {
    type Err = InvalidMacaroon;
    fn from_str(text: &str) -> Result<Self, InvalidMacaroon> {
        Self::parse(text)
    }
}

impl fmt::Debug for Macaroon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let caveats: Vec<_> = self.0.caveats.iter().map(|caveat| String::from_utf8_lossy(caveat)).collect();
        f.debug_struct("Macaroon")
            .field("location", &self.0.location)
            .field("identifier", &String::from_utf8_lossy(&self.0.identifier))
            .field("caveats", &caveats)
            .finish_non_exhaustive()
    }
}

/// The reason why there is no such macaroon. Its `Display` may be shown to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMacaroon {
    /// The text is too long.
    #[error("macaroon too long: expected at most {} bytes of text", Macaroon::TEXT_MAX)]
    TooLong,
    /// There are too many caveats.
    #[error("too many caveats: expected at most {}", Macaroon::CAVEATS_MAX)]
    TooManyCaveats,
    /// The text is not base64.
    #[error("invalid macaroon: expected base64url")]
    NotBase64,
    /// The bytes are not a macaroon.
    #[error("invalid macaroon: expected the binary format of libmacaroons, version 2")]
    Malformed,
    /// The macaroon has a caveat that a third party would have to discharge.
    #[error("unsupported caveat: expected first-party caveats only, got a third-party caveat")]
    ThirdPartyCaveat,
    /// The macaroon would have no location.
    #[error("missing location: expected where to present the macaroon")]
    NoLocation,
}

/// The reason why a macaroon is refused. Its `Display` may be shown to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The signature is wrong: the macaroon was altered, or its root key is not one of ours.
    #[error("invalid macaroon: wrong signature")]
    Signature,
    /// The signature is right, but a caveat is unknown or malformed.
    #[error(transparent)]
    Caveat(#[from] InvalidCaveat),
}
