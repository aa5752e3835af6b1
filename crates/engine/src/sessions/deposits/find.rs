//! Finding the session that a payment hash names.

use super::credential::BEGIN_MARGIN;
use super::{PaymentSessionError, SessionCredential};
use crate::books::Refusal;
use crate::committer::CommitError;
use crate::error::EngineError;
use crate::sessions::{SessionAccess, Sessions};
use tithe_lightning::{PaymentHash, Purpose};
use tithe_sessions::{Session, SessionError, SessionId};

impl Sessions {
    /// The session of the scheme `Payment` whose deposit has this payment hash, opened or not. The payment of one request has a hash, too, and
    /// is none.
    pub(super) async fn session_of_deposit(&self, deposit: PaymentHash) -> Result<Session, EngineError> {
        let store = &self.core.ports.store;
        let invoice = store.invoice(deposit).await?;
        let owner = invoice.filter(|invoice| invoice.purpose == Purpose::SessionDeposit);
        let session = match owner {
            Some(invoice) => store.session(SessionId(invoice.owner.0)).await?,
            None => None,
        };
        let is_deposit =
            |session: &Session| session.kind.payment().is_some() && session.deposit_invoice == Some(deposit);
        session.filter(is_deposit).ok_or_else(|| PaymentSessionError::NotFound.into())
    }

    /// As [`Self::session_of_deposit`], of an opened session only.
    pub(super) async fn opened_session(&self, deposit: PaymentHash) -> Result<Session, EngineError> {
        let session = self.session_of_deposit(deposit).await?;
        if session.kind.return_invoice().is_some() {
            Ok(session)
        } else {
            Err(PaymentSessionError::NotOpened.into())
        }
    }

    /// Whether a request was begun with this challenge, as far as is still known. Its response may be stored: then it is given again, whatever
    /// has become of the challenge and the session.
    pub(super) async fn is_challenge_used(
        &self,
        credential: &SessionCredential,
        session: SessionId,
    ) -> Result<bool, EngineError> {
        let key = credential.key(&access_to(session));
        let stored = self.core.ports.store.idempotency(&key).await?;
        Ok(stored.is_some_and(|stored| self.core.now() + BEGIN_MARGIN < stored.expires_at))
    }
}

/// What the holder of a credential may do: requests. It is no macaroon, and owns no session.
pub(super) const fn access_to(session: SessionId) -> SessionAccess {
    SessionAccess { session, keys: Vec::new(), expires_at: None, models: None }
}

/// Why a step of a session of the scheme `Payment` was refused.
pub(super) fn refused(cause: CommitError) -> EngineError {
    let CommitError::Refused(Refusal::Session(refused)) = cause else { return cause.into() };
    match refused {
        SessionError::DepositUsed => PaymentSessionError::UsedForAnotherRequest.into(),
        SessionError::NotOpened => PaymentSessionError::NotOpened.into(),
        SessionError::NotPaymentScheme => PaymentSessionError::NotFound.into(),
        SessionError::NotActive(_) => PaymentSessionError::DepositEnded.into(),
        other => EngineError::SessionState(other),
    }
}
