//! Opening sessions of the scheme `Payment`, and requests that are paid from them.

use super::credential::BEGIN_MARGIN;
use super::find::{access_to, refused};
use super::return_invoice::is_same_invoice;
use super::{PaymentSessionError, SessionCredential, SessionOpen};
use crate::error::{EngineError, InvalidProof};
use crate::records::{IdempotencyRequest, KeyOrigin};
use crate::sessions::{SessionAccess, Sessions};
use tithe_lightning::PaymentHash;
use tithe_paywall::RequestDigest;
use tithe_paywall::payment::{self, SessionAction};
use tithe_sessions::Session;

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
    /// session, for as long as it is known what the challenge was used for; then the session is used by other challenges.
    ///
    /// # Errors
    /// [`EngineError::PaymentSession`]; nothing is used up, and the deposit can be opened later, or claimed.
    pub async fn open_payment_session(
        &self,
        credential: &SessionCredential,
    ) -> Result<PaymentSessionAccess, EngineError> {
        let SessionAction::Open { return_invoice, .. } = &credential.action else {
            return Err(InvalidProof::Challenge(payment::Refused::Intent).into());
        };
        let session = self.session_of_deposit(credential.deposit).await?;
        let id = session.id;
        // What the challenge was used for is known for so long at least: it was issued with the deposit.
        let known_until = session.created_at + self.core.settings.idempotency_keep;
        let is_forgotten = self.core.now() + BEGIN_MARGIN >= known_until;
        let is_over = session.kind.return_invoice().filter(|_| is_forgotten);
        let is_over = is_over.map(|_| PaymentSessionError::ChallengeExpired);
        let return_invoice = match session.kind.return_invoice() {
            // It was checked then, and may have expired since.
            Some(known) if is_same_invoice(known, return_invoice) => known.to_owned(),
            _ => self.check_return_invoice(return_invoice).await?,
        };
        if self.reported(session, credential.deposit).await?.is_none() {
            return Err(PaymentSessionError::NotArrived.into());
        }
        let open = SessionOpen { session: id, return_invoice };
        let opened = *self.core.committer.commit(open).await.map_err(refused)?;
        if opened.end().is_some() {
            self.payouts.wake();
        }
        self.access_by_deposit(credential, &opened, is_over).await
    }

    /// Access to an opened session, if it is active and the challenge is not over, or if the response of a request is asked for again.
    async fn access_by_deposit(
        &self,
        credential: &SessionCredential,
        session: &Session,
        is_over: Option<PaymentSessionError>,
    ) -> Result<PaymentSessionAccess, EngineError> {
        let is_over = is_over.or_else(|| session.end().map(|_| PaymentSessionError::Ended));
        if let Some(is_over) = is_over
            && !self.is_challenge_used(credential, session.id).await?
        {
            return Err(is_over.into());
        }
        Ok(PaymentSessionAccess { access: access_to(session.id), payment_hash: credential.payment_hash() })
    }

    /// The open session that a request is paid from. Whether it is active, and has enough, is decided when the request begins.
    ///
    /// # Errors
    /// [`EngineError::PaymentSession`].
    pub async fn bearer(&self, credential: &SessionCredential) -> Result<PaymentSessionAccess, EngineError> {
        let session = self.opened_session(credential.payment_hash()).await?;
        let is_expired = credential.is_expired(self.core.now());
        let is_over = is_expired.then_some(PaymentSessionError::ChallengeExpired);
        self.access_by_deposit(credential, &session, is_over).await
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
            id: credential.key(&opened.access),
            fingerprint: digest.to_bytes(),
            keep: settings.idempotency_keep,
            lease: settings.lease,
            origin: KeyOrigin::Client,
        }
    }
}
