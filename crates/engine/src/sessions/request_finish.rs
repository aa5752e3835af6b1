//! Ends a request of a session.

use super::steps::account_of;
use crate::books::rows::{RowKind, SessionRequests};
use crate::books::{Books, Command, Refusal, RowKeys};
use crate::charging::{Absorb, FinishedWork, Payer};
use crate::metered::Delivered;
use crate::records::{IdempotencyId, StoredResponse};
use std::fmt::Debug;
use std::sync::Arc;
use tithe_free_tier::RequestHash;
use tithe_ledger::HoldId;
use tithe_money::{BtcPrice, Msats};
use tithe_paywall::KeyId;
use tithe_sessions::{
    ChargeBasis, RequestEnded, RequestId, RequestResult, RequestState, SessionEnd, SessionId, SessionRequest,
};
use tithe_trust::{Interaction, NostrPubkey, Tier};

/// The message for a customer whose request was begun anew under its idempotency key.
const TAKEN: &str =
    "The request was repeated under its Idempotency-Key meanwhile. Nothing was charged for this one.";

/// How a request of a session ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestOutcome {
    /// The work is done.
    Completed {
        /// The answer, for the record.
        result: RequestResult,
        /// The answer, for the customer.
        answer: Delivered,
        /// What the evaluation and the work cost.
        cost: Msats,
    },
    /// The evaluation rejected the request.
    Rejected {
        /// The reason, for the customer.
        reason: String,
        /// What the evaluation cost.
        cost: Msats,
    },
    /// The evaluation model was run, but its answer cannot be read. Only the evaluation is charged, and no trust is lost.
    Unreadable {
        /// The reason, for the customer.
        reason: String,
        /// What the evaluation cost.
        cost: Msats,
    },
    /// The work could not be done: nothing is charged.
    Failed {
        /// The reason, in words that customers may see.
        message: String,
    },
    /// The work may have been done, and there is no answer: nothing is charged, and it is not done again. The response says so, and is
    /// stored; a session that pays for one request is closed.
    Lost {
        /// The reason, in words that customers may see.
        message: String,
    },
}

/// A request of a session that has ended, and what the session has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedRequest {
    /// The request.
    pub request: SessionRequest,
    /// The answer, if the work is done.
    pub answer: Option<Delivered>,
    /// The balance of the session.
    pub balance: Msats,
    /// What of it other requests hold.
    pub held: Msats,
    /// How the session has ended, if it has: with what is refunded.
    pub end: Option<SessionEnd>,
    /// The present tier of the session's identity.
    pub tier: Tier,
}

/// Renders the response to a request, which is stored for its idempotency key.
pub trait RenderRequest: Debug + Send + Sync {
    /// The response.
    fn render(&self, finished: &FinishedRequest) -> StoredResponse;
}

/// Ends a request of a session, once: its hold ends, what was done is settled, and the response is stored. A session that pays for one
/// request is closed by its answer, and what the request has not cost is refunded. Returns the request as it is now.
#[derive(Debug, Clone)]
pub struct SessionRequestFinish {
    /// The request.
    pub request: RequestId,
    /// The session.
    pub session: SessionId,
    /// The session's identity.
    pub identity: Option<NostrPubkey>,
    /// The keys that the request counts against.
    pub keys: Vec<KeyId>,
    /// The SHA-256 of the request, for its receipt and for the log of grants.
    pub request_hash: RequestHash,
    /// The BTC price at which it was quoted, for its receipt.
    pub btc_price: BtcPrice,
    /// How it ends.
    pub outcome: RequestOutcome,
    /// The idempotency key of the request, and what renders the response to store for it.
    pub finish: Option<(IdempotencyId, Arc<dyn RenderRequest>)>,
    /// Whether the work is a call that must not be made again if a try of it was abandoned.
    pub once: bool,
}

impl SessionRequestFinish {
    const fn payer(&self) -> Payer {
        Payer::Hold { hold: HoldId(self.request.0), account: account_of(self.session) }
    }

    const fn cost(&self) -> Option<Msats> {
        match self.outcome {
            RequestOutcome::Completed { cost, .. }
            | RequestOutcome::Rejected { cost, .. }
            | RequestOutcome::Unreadable { cost, .. } => Some(cost),
            RequestOutcome::Failed { .. } | RequestOutcome::Lost { .. } => None,
        }
    }

    /// What the pool may pay: of work that was done, and never of a rejected request.
    fn absorb(&self) -> Absorb {
        match (self.identity, &self.outcome) {
            (Some(_), RequestOutcome::Completed { cost, .. }) if self.is_work() => Absorb::UpTo(*cost),
            _ => Absorb::Nothing,
        }
    }

    fn is_work(&self) -> bool {
        matches!(&self.outcome, RequestOutcome::Completed { answer, .. } if answer.is_work())
    }

    fn settle(&self, books: &mut Books<'_>, cost: Msats, limit: Msats) -> Result<RequestEnded, Refusal> {
        let shares = books.settle(&FinishedWork {
            id: self.request.0,
            // Only finished work earns trust.
            identity: self.identity.filter(|_| self.is_work()),
            cost,
            limit,
            absorb: self.absorb(),
            payer: self.payer(),
            request_hash: self.request_hash,
        })?;
        let basis = ChargeBasis { request_sha256: self.request_hash.to_bytes(), btc_price: self.btc_price };
        Ok(RequestEnded { cost, charged: shares.charged, absorbed: shares.absorbed, basis: Some(basis) })
    }
}

impl Command for SessionRequestFinish {
    type Reply = Box<FinishedRequest>;
    const NAME: &'static str = "session_request_finish";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_session_refund(self.session);
        keys.declare_hold(HoldId(self.request.0), account_of(self.session));
        keys.session_requests.insert(self.request);
        keys.session_keys.extend(self.keys.iter().map(|key| (self.session, *key)));
        keys.identities.extend(self.identity);
        if self.cost().is_some() {
            keys.declare_settlement(self.payer(), self.absorb(), self.identity);
        }
        keys.idempotency_keys.extend(self.finish.iter().map(|(id, _)| id.clone()));
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Box<FinishedRequest>, Refusal> {
        let (mut session, now) = (books.session(self.session)?, books.now());
        let request = books.session_request(self.request)?;
        // Another request has begun under its key since: that one is answered and charged.
        let taken = match &self.finish {
            Some((key, _)) => !books.key_is_of(key, self.request.0)?,
            None => false,
        };
        let lost = || Refusal::LeaseLost { kind: SessionRequests::NAME, key: self.request.to_string() };
        let state = match (&self.outcome, self.cost()) {
            _ if taken => {
                books.session_hold_release(&request)?;
                RequestState::Failed { message: TAKEN.to_owned() }
            }
            (RequestOutcome::Completed { result, .. }, Some(cost)) => {
                let ended = self.settle(books, cost, request.limit)?;
                RequestState::Complete { result: result.clone(), ended }
            }
            (RequestOutcome::Rejected { reason, .. }, Some(cost)) => {
                let ended = self.settle(books, cost, request.limit)?;
                if let Some(pubkey) = self.identity {
                    books.interaction(pubkey, Interaction::Fault)?;
                }
                RequestState::Rejected { reason: reason.clone(), ended }
            }
            (RequestOutcome::Unreadable { reason, .. }, Some(cost)) => {
                let ended = self.settle(books, cost, request.limit)?;
                RequestState::Rejected { reason: reason.clone(), ended }
            }
            _ => {
                books.session_hold_release(&request)?;
                let (RequestOutcome::Failed { message } | RequestOutcome::Lost { message }) = &self.outcome
                else {
                    return Err(lost());
                };
                RequestState::Failed { message: message.clone() }
            }
        };
        // A request that was abandoned meanwhile has failed: its result is dropped, and it is not charged.
        let request = request.ended(state, now).ok_or_else(lost)?;
        let warns = session.webhook.is_some() && session.end().is_none();
        books.session_keys_end(&request, request.cost().map(|ended| ended.charged), warns)?;
        books.rows.session_requests.put(request.clone())?;
        // The answer is what the payment was for.
        let is_lost = matches!(self.outcome, RequestOutcome::Lost { .. }) && !taken;
        let is_bought = session.kind.one_request().is_some() && (request.cost().is_some() || is_lost);
        if is_bought && session.end().is_none() {
            session = session.closed(now)?;
        }
        if session.end().is_some() {
            session = books.session_refund(&session, &format!("request:{}", self.request))?;
        }
        let account = books.account(account_of(self.session))?;
        let observed = session.observed(account.balance());
        if observed != session {
            books.rows.sessions.put(observed)?;
        }
        let tier = self.identity.map(|pubkey| books.tier(pubkey)).transpose()?.unwrap_or(Tier::Anonymous);
        let answer = match &self.outcome {
            RequestOutcome::Completed { answer, .. } if !taken => Some(answer.clone()),
            _ => None,
        };
        let (balance, held, end) = (account.balance(), account.held(), session.end());
        let finished = FinishedRequest { request, answer, balance, held, end, tier };
        if let Some((key, render)) = self.finish.as_ref().filter(|_| !taken) {
            match self.outcome {
                RequestOutcome::Failed { .. } if self.once => books.key_free(key)?,
                RequestOutcome::Failed { .. } => drop(books.key_release(key)?),
                _ => drop(books.key_finish(key, &render.render(&finished))?),
            }
        }
        Ok(Box::new(finished))
    }
}
