//! What the holder of a macaroon may do.

use super::service::Sessions;
use crate::core::Core;
use crate::error::{EngineError, InvalidCredential};
use std::collections::BTreeSet;
use tithe_clock::Timestamp;
use tithe_paywall::Verified;
use tithe_sessions::{PresentedKey, SessionId};

/// What a macaroon allows its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionAccess {
    /// The session.
    pub session: SessionId,
    /// The keys: the macaroon, and those that it was narrowed from, oldest first, without the session's own.
    pub keys: Vec<PresentedKey>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// The models that it may be used for; `None` means all.
    pub models: Option<BTreeSet<String>>,
}

impl SessionAccess {
    /// Whether it is the session's own macaroon, without any caveat: its holder owns the session.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.keys.is_empty()
    }

    /// The scope of idempotency keys: the holders of two macaroons of one session do not see each other's responses.
    #[must_use]
    pub fn scope(&self) -> String {
        match self.keys.last() {
            Some(key) => format!("session:{}:{}", self.session, key.id),
            None => format!("session:{}", self.session),
        }
    }

    /// Refuses a macaroon that was revoked, or was narrowed from one that was.
    pub(crate) async fn check_revoked(&self, core: &Core) -> Result<(), EngineError> {
        if self.is_owner() {
            return Ok(());
        }
        let revoked = core.ports.store.session_keys_revoked(self.session).await?;
        if self.keys.iter().any(|key| revoked.contains(&key.id)) {
            return Err(InvalidCredential::Revoked.into());
        }
        Ok(())
    }
}

impl Sessions {
    /// Refuses a macaroon that was revoked, or was narrowed from one that was.
    ///
    /// # Errors
    /// [`EngineError::InvalidIdentity`].
    pub async fn check_revoked(&self, access: &SessionAccess) -> Result<(), EngineError> {
        access.check_revoked(&self.core).await
    }

    /// Checks a macaroon: its signature, that its caveats are known, and its time. Whether it was revoked, and whether its limits
    /// allow a request, is decided when a request begins.
    ///
    /// # Errors
    /// [`EngineError::InvalidIdentity`].
    pub fn access(&self, macaroon: &str) -> Result<SessionAccess, EngineError> {
        let (session, verified) = self.macaroons.verify(macaroon)?;
        if verified.is_expired(self.core.now()) {
            return Err(InvalidCredential::Macaroon("the macaroon has expired".to_owned()).into());
        }
        Ok(SessionAccess {
            session,
            keys: presented_keys(&verified),
            expires_at: verified.expires_at(),
            models: verified.models().cloned(),
        })
    }
}

/// The keys of a macaroon: its own, and those that it was narrowed from, oldest first, without that of the macaroon that was minted.
pub(super) fn presented_keys(verified: &Verified) -> Vec<PresentedKey> {
    let caveats: Vec<String> = verified.caveats().iter().map(ToString::to_string).collect();
    let (keys, last) = (verified.keys(), caveats.len());
    let present = |n: usize| {
        let key = keys.get(n)?;
        let parent = n.checked_sub(1).filter(|parent| *parent > 0).and_then(|parent| keys.get(parent));
        Some(PresentedKey {
            id: key.id,
            parent: parent.map(|parent| parent.id),
            caveats: caveats.get(..n).unwrap_or_default().join("\n"),
            limit: key.limit,
        })
    };
    (1..=last).filter_map(present).collect()
}
