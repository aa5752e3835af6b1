//! The keys of which licences are accepted.

use crate::invalid::InvalidLicence;
use crate::key::VerifyingKey;
use crate::licence::Licence;
use tithe_clock::Timestamp;
use tithe_ledger::credits::InstallId;

/// The public keys of which licences are accepted. With none, no licence is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LicenceKeys(Vec<VerifyingKey>);

impl LicenceKeys {
    /// These keys; each counts once.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Self {
        let mut distinct = Vec::new();
        for key in keys {
            if !distinct.contains(&key) {
                distinct.push(key);
            }
        }
        Self(distinct)
    }

    /// The keys.
    pub fn iter(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.0.iter()
    }

    /// Whether no licence is accepted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The licence that a token carries, if one of these keys has signed it. Whether it is valid now, and for which install, remains to be
    /// checked ([`Licence::check`]).
    ///
    /// # Errors
    /// [`InvalidLicence`] when the text is not a licence that one of these keys has signed.
    pub fn authenticate(&self, token: &str) -> Result<Licence, InvalidLicence> {
        let unverified = Licence::read(token)?;
        let key = unverified.licence.key;
        let mut named = self.iter().filter(|known| known.id() == key).peekable();
        if named.peek().is_none() {
            return Err(InvalidLicence::UnknownKey { key });
        }
        let message = unverified.message();
        if named.any(|known| known.has_signed(&message, &unverified.signature)) {
            Ok(unverified.licence)
        } else {
            Err(InvalidLicence::BadSignature)
        }
    }

    /// The licence that a token carries, if it is valid for this install now. Whether it was revoked remains to be checked.
    ///
    /// # Errors
    /// [`InvalidLicence`] says why it is not.
    pub fn verify(&self, token: &str, install: InstallId, now: Timestamp) -> Result<Licence, InvalidLicence> {
        let licence = self.authenticate(token)?;
        licence.check(install, now)?;
        Ok(licence)
    }
}
