//! Licences that are no longer valid although they have not expired.

use std::fmt;
use std::str::FromStr;
use tithe_clock::{Entropy, Timestamp};
use uuid::Uuid;

/// The id of a licence. Every licence that is issued has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LicenceId(pub Uuid);

impl LicenceId {
    /// A new random id.
    #[must_use]
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(uuid::Builder::from_random_bytes(entropy.bytes()).into_uuid())
    }
}

impl fmt::Display for LicenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for LicenceId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// The revocation of a licence: the row that is stored. It never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// The licence.
    pub licence: LicenceId,
    /// Why it was revoked, for the operator.
    pub reason: String,
    /// When it was revoked.
    pub revoked_at: Timestamp,
}
