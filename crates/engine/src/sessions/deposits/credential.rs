//! Challenges to pay a deposit, and what clients do with sessions. Checking a credential needs no look-up.

use super::{OfferedDeposit, PaymentSessionError};
use crate::error::{EngineError, InvalidProof};
use crate::sessions::Sessions;
use std::fmt;
use tithe_clock::Timestamp;
use tithe_lightning::PaymentHash;
use tithe_paywall::payment::{Refused, SessionAction};

/// A challenge of this server, and what a client does with it who holds the preimage that this needs. What has become of the payment is in the
/// store.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionCredential {
    pub(super) challenge_id: String,
    /// The payment hash of the challenge's own deposit.
    pub(super) deposit: PaymentHash,
    pub(super) expires: Option<Timestamp>,
    pub(super) action: SessionAction,
}

impl SessionCredential {
    /// The id of the challenge.
    #[must_use]
    pub fn challenge_id(&self) -> &str {
        &self.challenge_id
    }

    /// What the client does.
    #[must_use]
    pub const fn action(&self) -> &SessionAction {
        &self.action
    }

    /// The payment hash that names the session: the one that the client names, or else that of the challenge's deposit.
    #[must_use]
    pub fn payment_hash(&self) -> PaymentHash {
        self.action.session_id().map_or(self.deposit, |id| PaymentHash::from_bytes(*id))
    }
}

impl fmt::Debug for SessionCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The id of a challenge is half of what claims its deposit.
        f.debug_struct("SessionCredential")
            .field("deposit", &self.deposit)
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}

impl Sessions {
    /// The value of the `WWW-Authenticate` header that offers a session by the scheme `Payment`, intent `session`
    /// (`draft-lightning-session-00`). `realm` is what it protects, such as the host.
    ///
    /// # Errors
    /// [`EngineError::Internal`] when the realm is empty or not plain ASCII.
    pub fn session_challenge(&self, offered: &OfferedDeposit, realm: &str) -> Result<String, EngineError> {
        let _offered = (offered, realm);
        Err(PaymentSessionError::NotOffered.into())
    }

    /// Checks a credential of the intent `session` as far as that needs no look-up: that the challenge is one of ours and unaltered, and that
    /// the preimage is that of its deposit (`open`, `topUp`) or of the session (`bearer`, `close`).
    ///
    /// # Errors
    /// [`EngineError::InvalidProof`].
    pub fn session_credential(&self, authorization: &str) -> Result<SessionCredential, EngineError> {
        let _authorization = authorization;
        Err(InvalidProof::Challenge(Refused::Intent).into())
    }
}
