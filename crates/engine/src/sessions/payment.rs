//! What became of a payment for one request, and how it is claimed back: with the proof that it was made. The preimage alone proves nothing,
//! because every node that has forwarded the payment knows it.

use super::proofs::PaidRequest;
use super::service::Sessions;
use crate::error::{EngineError, InvalidProof, PaidRequestError};
use crate::payouts::RefundView;
use std::fmt;
use tithe_clock::Timestamp;
use tithe_lightning::PaymentHash;
use tithe_money::{Msats, Sats};
use tithe_payouts::Destination;
use tithe_sessions::{RequestId, RequestState, Session, SessionId, SessionRequest, SessionState};

/// How often a request is begun for one payment. Each try that fails is paid for by nobody.
pub(crate) const TRIES_MAX: usize = 20;

/// What has become of a payment for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentState {
    /// The wallet has not reported the payment.
    Pending,
    /// It has arrived, and can be used or claimed.
    Paid,
    /// The request is being done.
    Running,
    /// It has bought its answer.
    Used,
    /// It was claimed back.
    Returned,
    /// It was not used in time, and can be claimed.
    Expired,
}

impl PaymentState {
    /// The name used by the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::Running => "running",
            Self::Used => "used",
            Self::Returned => "returned",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for PaymentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A payment for one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentView {
    /// The payment.
    pub payment_hash: PaymentHash,
    /// The session that it paid.
    pub session: SessionId,
    /// What has become of it.
    pub state: PaymentState,
    /// The price of the request.
    pub price: Sats,
    /// What was paid.
    pub paid: Msats,
    /// What the request was charged.
    pub charged: Msats,
    /// What is owed to the customer.
    pub refund: RefundView,
    /// The request, if it was begun.
    pub request: Option<RequestId>,
    /// Until when it can be paid, if it is pending; until when it can be used, if it is not.
    pub expires_at: Timestamp,
}

impl Sessions {
    /// A payment for one request. One that has not arrived is looked up at the wallet first, at most once a second.
    ///
    /// # Errors
    /// [`EngineError::InvalidProof`] when the proof was narrowed; [`EngineError::NotFound`], [`EngineError::Busy`].
    pub async fn payment(&self, paid: &PaidRequest) -> Result<PaymentView, EngineError> {
        let session = self.session_of_payment(paid).await?;
        self.view_payment(paid.payment_hash, session).await
    }

    /// Claims back what is left of a payment for one request: all of it, if it was not used; then it buys nothing any more. Without a
    /// destination it becomes due, and one can be named later. Claiming again changes nothing, but for a destination that was not named
    /// before, or that could not be paid.
    ///
    /// # Errors
    /// As [`Self::payment`]; [`EngineError::PaidRequest`] when nothing was paid as far as is known, or the request is being done;
    /// [`EngineError::Payout`] when the destination is unsuitable: then the payment can still be used.
    pub async fn refund_payment(
        &self,
        paid: &PaidRequest,
        destination: Option<Destination>,
    ) -> Result<PaymentView, EngineError> {
        let id = self.session_of_payment(paid).await?;
        self.claim(id, destination, PaidRequestError::NotArrived.into()).await?;
        self.view_payment(paid.payment_hash, id).await
    }

    /// The session that a payment has paid for one request. Whoever got a narrowed token may use the payment, and no more.
    async fn session_of_payment(&self, paid: &PaidRequest) -> Result<SessionId, EngineError> {
        if !paid.keys.is_empty() {
            return Err(InvalidProof::Narrowed.into());
        }
        let session = self.core.ports.store.session(paid.session).await?;
        let session = session.filter(|session| {
            session.kind.one_request().is_some() && session.deposit_invoice == Some(paid.payment_hash)
        });
        let session = session.ok_or_else(|| EngineError::not_found("payment", &paid.payment_hash))?;
        if is_awaited(&session) {
            self.payments.check_proven(paid.payment_hash).await?;
        }
        Ok(session.id)
    }

    /// The request that a payment has bought or is buying; otherwise the last one that was begun. Their ids are of several servers' clocks, so
    /// that their order says little.
    pub(super) async fn request_of_payment(
        &self,
        id: SessionId,
    ) -> Result<Option<SessionRequest>, EngineError> {
        let mut requests = self.requests(id, None, TRIES_MAX + 1).await?;
        let decisive = requests.iter().position(|request| request.cost().is_some());
        let decisive =
            decisive.or_else(|| requests.iter().position(|request| request.state == RequestState::Running));
        Ok((!requests.is_empty()).then(|| requests.swap_remove(decisive.unwrap_or(0))))
    }

    async fn view_payment(
        &self,
        payment_hash: PaymentHash,
        id: SessionId,
    ) -> Result<PaymentView, EngineError> {
        let view = self.view(id).await?;
        let request = self.request_of_payment(id).await?;
        let is_running = request.as_ref().is_some_and(|request| request.state == RequestState::Running);
        let is_answered = request.as_ref().is_some_and(|request| request.cost().is_some());
        Ok(PaymentView {
            payment_hash,
            session: id,
            state: state_of(&view.session, is_running, is_answered),
            price: view.session.deposit,
            paid: view.session.paid_in,
            charged: view.session.spent(view.balance),
            refund: view.refund,
            request: request.map(|request| request.id),
            expires_at: view.expires_at,
        })
    }
}

fn state_of(session: &Session, is_running: bool, is_answered: bool) -> PaymentState {
    match session.state {
        _ if is_awaited(session) => PaymentState::Pending,
        SessionState::Active if is_running => PaymentState::Running,
        SessionState::AwaitingPayment | SessionState::Active => PaymentState::Paid,
        SessionState::Closed(_) if is_answered => PaymentState::Used,
        SessionState::Closed(_) => PaymentState::Returned,
        SessionState::Expired(_) => PaymentState::Expired,
    }
}

/// Whether a payment that has not arrived, as far as is known, may still do so.
pub(super) fn is_awaited(session: &Session) -> bool {
    match session.state {
        SessionState::AwaitingPayment => true,
        SessionState::Expired(_) => session.paid_in.is_zero(),
        SessionState::Active | SessionState::Closed(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_sessions::{NewSession, SessionEnd, SessionKind};
    use uuid::Uuid;

    fn msats(n: u64) -> Msats {
        Msats::new(n).unwrap()
    }

    fn session() -> Session {
        Session::new(NewSession {
            id: SessionId(Uuid::nil()),
            kind: SessionKind::Prepaid,
            deposit: Sats::new(5).unwrap(),
            identity: None,
            webhook: None,
            return_to: None,
            created_at: Timestamp::UNIX_EPOCH,
        })
    }

    #[test]
    fn a_payment_is_awaited_until_it_comes_or_nobody_looks_for_it() {
        let expired = SessionState::Expired(SessionEnd::default());
        let closed = SessionState::Closed(SessionEnd::default());
        for (state, paid_in, awaited) in [
            (SessionState::AwaitingPayment, 0, true),
            (expired, 0, true),
            (expired, 1, false),
            (SessionState::Active, 1, false),
            (closed, 1, false),
        ] {
            assert_eq!(is_awaited(&Session { state, paid_in: msats(paid_in), ..session() }), awaited);
        }
    }
}
