//! Charging a request whose payment was held, now that it is taken.

use super::super::redeem::key_of;
use super::super::steps::account_of;
use crate::books::rows::{KeptRequests, RowKind};
use crate::books::{Books, Refusal, RowKeys};
use crate::charging::{Absorb, FinishedWork, Payer};
use crate::idempotency::KeyBegun;
use crate::records::{IdempotencyRequest, KeyOrigin, StoredResponse};
use std::time::Duration;
use tithe_free_tier::RequestHash;
use tithe_ledger::{Hold, HoldId};
use tithe_sessions::{
    KeptAnswer, KeptLease, KeptRequest, RequestEnded, RequestId, RequestState, Session, SessionId,
    SessionRequest,
};
use tithe_trust::{Interaction, NostrPubkey};

/// What never changes of a request that is kept, and what its answer is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldDeposit {
    /// The id that the request is recorded with.
    pub request: RequestId,
    /// The identity of the customer.
    pub identity: Option<NostrPubkey>,
    /// How long its answer is kept for its proof.
    pub keep: Duration,
}

impl HeldDeposit {
    pub(in super::super) const fn of(kept: &KeptRequest, keep: Duration) -> Self {
        Self { request: kept.request, identity: kept.identity, keep }
    }
}

impl RowKeys {
    /// Declares a kept request, and what its charge needs.
    pub(in super::super) fn declare_kept_charge(&mut self, session: SessionId, held: &HeldDeposit) {
        self.kept_requests.insert(session);
        self.session_requests.insert(held.request);
        self.idempotency_keys.insert(key_of(session));
        self.declare_session_refund(session);
        self.declare_settlement(payer(session, held.request), Absorb::Nothing, held.identity);
    }
}

/// The hold that a request is charged from, as any request of a session is.
const fn payer(session: SessionId, request: RequestId) -> Payer {
    Payer::Hold { hold: HoldId(request.0), account: account_of(session) }
}

/// Somebody else works on a kept request, or it is not kept any more.
pub(super) fn lost(session: SessionId) -> Refusal {
    Refusal::LeaseLost { kind: KeptRequests::NAME, key: session.to_string() }
}

impl Books<'_> {
    /// The request that is kept for a session, unless it has ended.
    pub(in super::super) fn kept_open(&self, session: SessionId) -> Result<Option<KeptRequest>, Refusal> {
        let kept = self.rows.kept_requests.get(&session)?.cloned();
        Ok(kept.filter(|kept| kept.state != tithe_sessions::KeptState::Ended))
    }

    /// The request that is kept for a session, which must still be leased as `lease`.
    pub(super) fn kept_leased(&self, session: SessionId, lease: &KeptLease) -> Result<KeptRequest, Refusal> {
        let kept = self.kept_open(session)?.filter(|kept| kept.lease.is_held_as(lease));
        kept.ok_or_else(|| lost(session))
    }

    /// Ends a kept request whose payment is credited to its session: the work is charged, the answer is stored for the proof, and the
    /// session is closed and refunded.
    pub(in super::super) fn kept_charge(
        &mut self,
        kept: &KeptRequest,
        answer: &KeptAnswer,
        session: &Session,
        keep: Duration,
    ) -> Result<(), Refusal> {
        let (now, price) = (self.now(), session.deposit.to_msats());
        let one = session.kind.one_request().ok_or_else(|| lost(kept.session))?;
        let request = SessionRequest {
            id: kept.request,
            session: kept.session,
            model: one.terms.model.clone(),
            limit: price,
            keys: Vec::new(),
            state: answer.state.clone(),
            created_at: kept.created_at,
            updated_at: now,
            text_deleted_at: None,
        };
        let quoted = request.cost().copied().ok_or_else(|| lost(kept.session))?;
        let account = self.account(account_of(kept.session))?;
        let (amount, hold) = (price.min(account.available()), HoldId(kept.request.0));
        // It ends in the same commit.
        let (hold, account) = Hold::place(&account, hold, amount, now, Duration::from_mins(1))?;
        self.hold_write(hold, account)?;
        let hash = quoted.basis.map(|basis| RequestHash::from_bytes(basis.request_sha256));
        let shares = self.settle(&FinishedWork {
            id: kept.request.0,
            // Only finished work earns trust.
            identity: kept.identity.filter(|_| answer.is_work),
            cost: quoted.cost,
            limit: price,
            // The answer says what was charged, and was stored before.
            absorb: Absorb::Nothing,
            payer: payer(kept.session, kept.request),
            request_hash: hash.unwrap_or_else(|| RequestHash::from_bytes([0; 32])),
        })?;
        if let Some(pubkey) = kept.identity.filter(|_| answer.is_fault) {
            self.interaction(pubkey, Interaction::Fault)?;
        }
        let ended = RequestEnded { charged: shares.charged, absorbed: shares.absorbed, ..quoted };
        let state = match request.state {
            RequestState::Complete { result, .. } => RequestState::Complete { result, ended },
            RequestState::Rejected { reason, .. } => RequestState::Rejected { reason, ended },
            other @ (RequestState::Running | RequestState::Failed { .. }) => other,
        };
        self.rows.session_requests.put(SessionRequest { state, ..request })?;
        self.kept_store(kept, answer, one.digest.to_bytes(), keep)?;
        let closed = session.closed(now)?;
        self.session_refund(&closed, &format!("request:{}", kept.request))?;
        self.rows.kept_requests.put(kept.ended(now))
    }

    /// Stores the answer under the key of the proof.
    fn kept_store(
        &mut self,
        kept: &KeptRequest,
        answer: &KeptAnswer,
        fingerprint: [u8; 32],
        keep: Duration,
    ) -> Result<(), Refusal> {
        let (id, lease, origin) = (key_of(kept.session), Duration::ZERO, KeyOrigin::Client);
        let key = IdempotencyRequest { id: id.clone(), fingerprint, keep, lease, origin };
        let response = StoredResponse { status: answer.status, body: answer.body.clone() };
        match self.key_begin(&key, Some(kept.request.0), None) {
            Ok(KeyBegun::New | KeyBegun::Resumed { .. }) => {
                // As old as the request: whoever has asked for it to be forgotten meanwhile has meant its answer, too.
                self.key_date_back(&id, kept.created_at)?;
                self.key_finish(&id, &response).map(drop)
            }
            // Another answer was given; the money is credited all the same.
            Ok(KeyBegun::Replayed(_)) | Err(Refusal::IdempotencyKeyReused | Refusal::RequestInProgress) => {
                Ok(())
            }
            Err(refusal) => Err(refusal),
        }
    }
}
