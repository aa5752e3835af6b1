//! What became of a deposit, and how it is claimed: with the challenge that it was paid for, which never travels over Lightning.

use super::{PaymentSessionError, SessionCredential};
use crate::error::{EngineError, InvalidProof};
use crate::sessions::payment::is_awaited;
use crate::sessions::{PaymentState, PaymentView, SessionView, Sessions};
use tithe_lightning::PaymentHash;
use tithe_payouts::Destination;
use tithe_paywall::payment::{self, SessionAction};
use tithe_sessions::{Session, SessionId, SessionState};

impl Sessions {
    /// What became of the deposit of a challenge. One that has not arrived is looked up at the wallet first, at most once a second.
    ///
    /// # Errors
    /// [`EngineError::InvalidProof`] unless the credential proves the challenge's own deposit (`open`, `topUp`);
    /// [`EngineError::NotFound`], [`EngineError::Busy`].
    pub async fn deposit(&self, credential: &SessionCredential) -> Result<PaymentView, EngineError> {
        let id = self.proven_deposit(credential).await?;
        Ok(view_of(self.view(id).await?, credential.deposit))
    }

    /// Claims what is left of a deposit: it is paid to this destination, unless a payment of it is in flight. A session that is open is
    /// closed. Claiming again changes nothing, but for a destination that was not named before, or that could not be paid.
    ///
    /// # Errors
    /// As [`Self::deposit`]; [`EngineError::PaymentSession`] when nothing was paid as far as is known; [`EngineError::PaidRequest`] while a
    /// request of the session runs; [`EngineError::Payout`] when the destination is unsuitable: then nothing has changed.
    pub async fn refund_deposit(
        &self,
        credential: &SessionCredential,
        destination: Option<Destination>,
    ) -> Result<PaymentView, EngineError> {
        let id = self.proven_deposit(credential).await?;
        self.claim(id, destination, PaymentSessionError::NotArrived.into()).await?;
        Ok(view_of(self.view(id).await?, credential.deposit))
    }

    /// The session of the challenge's own deposit. Whoever knows a preimage only can use and close a session, and claims nothing.
    async fn proven_deposit(&self, credential: &SessionCredential) -> Result<SessionId, EngineError> {
        match credential.action {
            SessionAction::Open { .. } | SessionAction::TopUp { .. } => {}
            SessionAction::Bearer { .. } | SessionAction::Close { .. } => {
                return Err(InvalidProof::Challenge(payment::Refused::Intent).into());
            }
        }
        let session = match self.session_of_deposit(credential.deposit).await {
            Err(EngineError::PaymentSession(PaymentSessionError::NotFound)) => {
                return Err(EngineError::not_found("payment", &credential.deposit));
            }
            found => found?,
        };
        if is_awaited(&session) {
            self.payments.check_proven(credential.deposit).await?;
        }
        Ok(session.id)
    }
}

fn view_of(view: SessionView, payment_hash: PaymentHash) -> PaymentView {
    let session = &view.session;
    PaymentView {
        payment_hash,
        session: session.id,
        state: state_of(session),
        price: session.deposit,
        paid: session.paid_in,
        charged: session.spent(view.balance),
        refund: view.refund,
        request: None,
        expires_at: view.expires_at,
    }
}

fn state_of(session: &Session) -> PaymentState {
    let is_used = session
        .kind
        .payment()
        .is_some_and(|payment| payment.topped_up.is_some() && payment.return_invoice.is_none());
    match session.state {
        _ if is_awaited(session) => PaymentState::Pending,
        SessionState::AwaitingPayment | SessionState::Active => PaymentState::Paid,
        SessionState::Closed(_) if is_used => PaymentState::Used,
        SessionState::Closed(_) => PaymentState::Returned,
        SessionState::Expired(_) => PaymentState::Expired,
    }
}
