//! Ends a plain request.

use super::payer::AskPayer;
use crate::books::{Books, Command, Refusal, RowKeys};
use crate::charging::{Absorb, FinishedWork, Payer};
use crate::metered::Delivered;
use crate::records::{IdempotencyId, StoredResponse};
use std::fmt::Debug;
use std::sync::Arc;
use tithe_free_tier::{RequestHash, ReservationId};
use tithe_ledger::credits::{Backend, Balance, CreditId};
use tithe_money::Msats;
use tithe_trust::{Interaction, Tier};
use uuid::Uuid;

/// How a plain request ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskOutcome {
    /// The work is done.
    Completed {
        /// The answer.
        answer: Delivered,
        /// What the evaluation and the work cost.
        cost: Msats,
    },
    /// The evaluation rejected the request: nobody pays, and the identity loses trust.
    Rejected {
        /// The reason, for the customer.
        reason: String,
    },
    /// The evaluation cannot be read: nobody pays, and nobody is to blame.
    Unreadable {
        /// The reason, for the customer.
        reason: String,
    },
}

/// A plain request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedAsk {
    /// The id of the request.
    pub id: Uuid,
    /// The model that did the work.
    pub model: String,
    /// Where the work ran.
    pub backend: Backend,
    /// The answer, or why the evaluation rejected the request.
    pub answer: Result<Delivered, String>,
    /// What it cost. The customer pays none of it.
    pub cost: Msats,
    /// What the pool paid of the cost.
    pub absorbed: Msats,
    /// What the install has left; `None` if it was no install that asked.
    pub balance: Option<Balance>,
    /// The present tier of the identity.
    pub tier: Tier,
}

/// What [`AskFinish`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskEnded {
    /// The request is answered.
    Answered(Box<FinishedAsk>),
    /// Everything that was set aside is given back: another request has begun under its key since.
    GivenBack,
}

/// Renders the response to a plain request, which is stored for its idempotency key.
pub trait RenderAsk: Debug + Send + Sync {
    /// The response.
    fn render(&self, finished: &FinishedAsk) -> StoredResponse;
}

/// Ends a plain request, once: what was set aside ends, what was done is settled, and the response is stored.
#[derive(Debug, Clone)]
pub struct AskFinish {
    /// The request.
    pub id: Uuid,
    /// Who pays.
    pub payer: AskPayer,
    /// The model that did the work.
    pub model: String,
    /// Where the work ran.
    pub backend: Backend,
    /// The SHA-256 of the request's text, for the log of grants.
    pub request_hash: RequestHash,
    /// The most that the work can cost.
    pub limit: Msats,
    /// How it ends.
    pub outcome: AskOutcome,
    /// The idempotency key of the request, and what renders the response to store for it.
    pub finish: Option<(IdempotencyId, Arc<dyn RenderAsk>)>,
}

impl AskFinish {
    /// How what was done is settled.
    const fn settlement(&self) -> (Payer, Absorb) {
        match self.payer {
            AskPayer::Install(_) => (Payer::Plan, Absorb::Nothing),
            AskPayer::Pool(_) => (Payer::Nobody, Absorb::Reserved(ReservationId(self.id))),
        }
    }

    /// Ends what was set aside with the work done. Returns what the pool paid, and what the install has left.
    fn settle(&self, books: &mut Books<'_>, cost: Msats) -> Result<(Msats, Option<Balance>), Refusal> {
        let now = books.now();
        let (identity, balance) = match self.payer {
            AskPayer::Install(install) => {
                let moved = books.credit_commit(CreditId(self.id), install)?;
                let balance = moved.install.balance(moved.credit.plan, &moved.credit.quota, now);
                (None, Some(balance))
            }
            AskPayer::Pool(identity) => (Some(identity), None),
        };
        let (payer, absorb) = self.settlement();
        let shares = books.settle(&FinishedWork {
            id: self.id,
            identity,
            cost,
            limit: self.limit,
            absorb,
            payer,
            request_hash: self.request_hash,
        })?;
        Ok((shares.absorbed, balance))
    }
}

impl Command for AskFinish {
    type Reply = AskEnded;
    const NAME: &'static str = "ask_finish";

    fn declare(&self, keys: &mut RowKeys) {
        self.payer.declare(self.id, keys);
        let (payer, absorb) = self.settlement();
        let identity = match self.payer {
            AskPayer::Install(_) => None,
            AskPayer::Pool(identity) => Some(identity),
        };
        keys.declare_settlement(payer, absorb, identity);
        keys.idempotency_keys.extend(self.finish.iter().map(|(id, _)| id.clone()));
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<AskEnded, Refusal> {
        // Another request has begun under its key since: that one is answered.
        if let Some((key, _)) = &self.finish
            && !books.key_is_of(key, self.id)?
        {
            self.payer.release(self.id, books)?;
            return Ok(AskEnded::GivenBack);
        }
        let mut loses_trust = false;
        let (answer, cost, absorbed, balance) = match &self.outcome {
            AskOutcome::Completed { answer, cost } => {
                let (absorbed, balance) = self.settle(books, *cost)?;
                (Ok(answer.clone()), *cost, absorbed, balance)
            }
            AskOutcome::Rejected { reason } | AskOutcome::Unreadable { reason } => {
                // Once: this end may have been committed before, although its outcome was not known.
                let ends_now = self.payer.release(self.id, books)?;
                loses_trust = ends_now && matches!(self.outcome, AskOutcome::Rejected { .. });
                (Err(reason.clone()), Msats::ZERO, Msats::ZERO, None)
            }
        };
        let tier = match self.payer {
            AskPayer::Install(_) => Tier::Anonymous,
            AskPayer::Pool(identity) => {
                if loses_trust {
                    books.interaction(identity, Interaction::Fault)?;
                }
                books.tier(identity)?
            }
        };
        let (id, model, backend) = (self.id, self.model.clone(), self.backend);
        let finished = FinishedAsk { id, model, backend, answer, cost, absorbed, balance, tier };
        if let Some((key, render)) = &self.finish {
            books.key_finish(key, &render.render(&finished))?;
        }
        Ok(AskEnded::Answered(Box::new(finished)))
    }
}
