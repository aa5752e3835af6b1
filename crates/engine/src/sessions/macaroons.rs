//! The macaroons of sessions. Checking one needs no look-up.

use crate::error::{EngineError, InvalidCredential};
use tithe_paywall::{Macaroon, RootKey, Verified, VerifyError};
use tithe_sessions::SessionId;
use tithe_trust::Secrets;

/// What the identifier of a session's macaroon begins with.
const IDENTIFIER: &str = "session:";

/// Makes and checks the macaroons of sessions: the root keys derive from the server's secrets and the session's id.
pub(crate) struct MacaroonKeys {
    secrets: Vec<Vec<u8>>,
    location: String,
}

impl MacaroonKeys {
    /// Macaroons made with the first secret and checked with any.
    pub(crate) fn new(secrets: &Secrets) -> Self {
        let secrets = secrets.iter().map(|secret| secret.bytes().to_vec()).collect();
        Self { secrets, location: "tithe".to_owned() }
    }

    /// The secrets. New macaroons are made with the first.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        self.secrets.iter().map(Vec::as_slice)
    }

    /// Where the macaroons say that they are to be presented.
    pub(super) fn location(&self) -> &str {
        &self.location
    }

    pub(super) fn root_keys<'a>(&'a self, identifier: &'a [u8]) -> impl Iterator<Item = RootKey> + 'a {
        self.secrets.iter().map(move |secret| RootKey::derive(secret, identifier))
    }

    /// The macaroon of a session. The same session always has the same one.
    pub(super) fn mint(&self, session: SessionId) -> Result<String, EngineError> {
        let identifier = format!("{IDENTIFIER}{session}");
        let root_key = self.root_keys(identifier.as_bytes()).next().ok_or(EngineError::Internal)?;
        let minted = Macaroon::mint(&root_key, &self.location, identifier.as_bytes());
        minted.map(|macaroon| macaroon.encode()).map_err(|_| EngineError::Internal)
    }

    pub(super) fn verify(&self, text: &str) -> Result<(SessionId, Verified), InvalidCredential> {
        let macaroon =
            Macaroon::parse(text).map_err(|wrong| InvalidCredential::Macaroon(wrong.to_string()))?;
        let identifier = macaroon.identifier();
        let root_keys: Vec<RootKey> = self.root_keys(identifier).collect();
        let verified = macaroon.verify_any(&root_keys);
        let verified =
            verified.map_err(|wrong: VerifyError| InvalidCredential::Macaroon(wrong.to_string()))?;
        let session = std::str::from_utf8(identifier).ok().and_then(|text| text.strip_prefix(IDENTIFIER));
        let session = session.and_then(|id| id.parse().ok()).ok_or(InvalidCredential::NotASession)?;
        Ok((session, verified))
    }
}
