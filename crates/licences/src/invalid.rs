//! Why a licence is refused.

use crate::key::KeyId;
use tithe_clock::Timestamp;

/// Why a licence is refused. Its `Display` may be shown to the sender: it never contains the token, nor the install that a licence is
/// for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLicence {
    /// The text does not have the form of a licence.
    #[error("not a licence: expected `v1.<payload>.<signature>`, as it was issued")]
    NotLicence,
    /// The text is longer than any licence.
    #[error("not a licence: expected at most {most} bytes, got {length}")]
    TooLong {
        /// The greatest length of a token, in bytes.
        most: usize,
        /// The length of the text, in bytes.
        length: usize,
    },
    /// The text begins as a licence does, but it is incomplete or was changed.
    #[error("damaged licence: expected the whole text exactly as it was issued")]
    Damaged,
    /// No key that is accepted has the id of the key that the licence names.
    #[error("unknown or retired licence key: expected a current key, got {key}; ask for a new licence")]
    UnknownKey {
        /// The key that the licence names.
        key: KeyId,
    },
    /// The signature does not belong to the rest of the licence.
    #[error("invalid licence signature: not signed by this operator, or changed afterwards")]
    BadSignature,
    /// The licence was issued for another install.
    #[error("wrong install: expected the install that the licence was issued for")]
    OtherInstall,
    /// The issue time is further in the future than clocks may differ.
    #[error("licence not valid yet: issued at {at}")]
    NotYetIssued {
        /// When it was issued.
        at: Timestamp,
    },
    /// The licence has expired.
    #[error("licence expired at {at}: ask for a new one")]
    Expired {
        /// When it expired.
        at: Timestamp,
    },
    /// The operator has revoked the licence. This crate never finds that: the caller looks for a [`Revocation`](crate::Revocation).
    #[error("licence revoked at {at}: ask for a new one")]
    Revoked {
        /// When it was revoked.
        at: Timestamp,
    },
}
