//! What commands do with jobs.
//!
//! What is paid for a job stays in `job:<id>` until it is earned: the evaluation fee when the evaluation has run, the charge
//! for the work when the work is done. When a job ends, whatever is left in its account is refunded, so that an ended job's
//! account is empty (invariant I8); money that arrives later is refunded at once.

use crate::books::rows::{self, RowKind};
use crate::books::{Books, Refusal, RowKeys};
use crate::charging::{Absorb, FinishedWork, Payer};
use tithe_free_tier::{RequestHash, ReservationId};
use tithe_jobs::{Job, JobChange, JobEvent, JobId, JobState, Lease, WorkTerms};
use tithe_ledger::AccountId;
use tithe_lightning::PaymentHash;
use tithe_pricing::{CostSplit, Price};
use tithe_trust::{Interaction, NostrPubkey};

/// The id of a job's reservation: the job's own.
pub(super) const fn reservation_id(job: JobId) -> ReservationId {
    ReservationId(job.0)
}

/// Whether a job waits for this invoice to be paid.
pub(super) fn awaits(job: &Job, hash: PaymentHash) -> bool {
    match &job.state {
        JobState::AwaitingEvalPayment => job.evaluation_invoice() == Some(hash),
        JobState::AwaitingWorkPayment { invoice, .. } => *invoice == Some(hash),
        _ => false,
    }
}

impl RowKeys {
    /// Declares a job with its account and, if it has an identity, its reservation. The pool pays nothing for anonymous jobs.
    pub(super) fn declare_job(&mut self, job: JobId, identity: Option<NostrPubkey>) {
        self.jobs.insert(job);
        self.declare_refund(AccountId::Job(job.0));
        if let Some(identity) = identity {
            self.declare_reservation(reservation_id(job), identity);
        }
    }
}

impl Books<'_> {
    /// The job of this id.
    pub(super) fn job(&self, id: JobId) -> Result<Job, Refusal> {
        let stored = self.rows.jobs.get(&id)?.cloned();
        stored.ok_or_else(|| Refusal::not_found(rows::Jobs::NAME, &id))
    }

    /// The job of this id, which must belong to this identity: the rows of this identity were declared.
    pub(super) fn job_of(&self, id: JobId, identity: Option<NostrPubkey>) -> Result<Job, Refusal> {
        let job = self.job(id)?;
        if job.identity == identity {
            return Ok(job);
        }
        Err(Refusal::OtherIdentity { kind: rows::Jobs::NAME, key: id.to_string() })
    }

    /// The job of this id and identity, which must still be leased as `lease`.
    pub(super) fn job_leased(
        &self,
        id: JobId,
        identity: Option<NostrPubkey>,
        lease: &Lease,
    ) -> Result<Job, Refusal> {
        let job = self.job_of(id, identity)?;
        check_lease(&job, Some(lease))?;
        Ok(job)
    }

    /// Lets a job take a step. A step that ends the job also releases its reservation and refunds what is left in its account;
    /// `occasion` distinguishes several refunds of one job. Followers see one change.
    pub(super) fn job_step(&mut self, job: &Job, event: JobEvent, occasion: &str) -> Result<Job, Refusal> {
        let next = job.apply(event, self.now())?;
        let next = if next.state.name().is_terminal() { self.job_end(next, occasion)? } else { next };
        self.job_write(next.clone())?;
        Ok(next)
    }

    /// Lets a job take a step that moves no money.
    pub(super) fn job_advance(&mut self, job: &Job, event: JobEvent) -> Result<(), Refusal> {
        let next = job.apply(event, self.now())?;
        self.job_write(next)
    }

    /// Refunds money that has arrived for a job that had ended.
    pub(super) fn job_refund(&mut self, job: Job, occasion: &str) -> Result<(), Refusal> {
        let revision = job.revision;
        let refunded = self.job_end(job, occasion)?;
        if refunded.revision == revision { Ok(()) } else { self.job_write(refunded) }
    }

    /// Releases what is reserved for an ended job, and refunds what is left in its account.
    fn job_end(&mut self, job: Job, occasion: &str) -> Result<Job, Refusal> {
        if job.identity.is_some()
            && let Some(reservation) = self.live_reservation(reservation_id(job.id))?
        {
            self.reservation_release(&reservation)?;
        }
        let amount = self.accrue_refund(AccountId::Job(job.id.0), job.id.0, occasion)?;
        if amount.is_zero() {
            return Ok(job);
        }
        Ok(job.apply(JobEvent::RefundAccrued { amount }, self.now())?)
    }

    /// Writes a job, and tells its followers unless the step cannot be seen from outside.
    fn job_write(&mut self, job: Job) -> Result<(), Refusal> {
        let is_seen = !matches!(
            job.state,
            JobState::Accepted { .. } | JobState::Settling { .. } | JobState::Cancelling { .. }
        );
        if is_seen {
            self.rows.job_changes.push(JobChange {
                job: job.id,
                revision: job.revision,
                state: job.state.name(),
                at: self.now(),
            });
        }
        self.rows.jobs.put(job)
    }

    /// Settles the work of a job at this price, with what its account has.
    pub(super) fn work_settle(
        &mut self,
        job: &Job,
        work: &WorkTerms,
        price: Price,
    ) -> Result<CostSplit, Refusal> {
        let account = AccountId::Job(job.id.0);
        let paid = self.account(account)?.available();
        let id = reservation_id(job.id);
        let is_reserved = job.identity.is_some() && self.live_reservation(id)?.is_some();
        let shares = self.settle(&FinishedWork {
            id: job.id.0,
            identity: job.identity,
            cost: price.msats,
            limit: work.full_amount.to_msats(),
            absorb: if is_reserved { Absorb::Reserved(id) } else { Absorb::Nothing },
            payer: Payer::Deposit(account),
            request_hash: RequestHash::of(&job.request),
        })?;
        Ok(CostSplit::new(price, shares, paid)?)
    }

    /// Lets a job's identity, if it has one, lose trust because of its request.
    pub(super) fn job_fault(&mut self, job: &Job) -> Result<(), Refusal> {
        match job.identity {
            Some(pubkey) => self.interaction(pubkey, Interaction::Fault),
            None => Ok(()),
        }
    }
}

/// Whether the job is still leased as `lease`.
pub(super) fn check_lease(job: &Job, lease: Option<&Lease>) -> Result<(), Refusal> {
    if lease.is_some_and(|lease| job.lease.is_held_as(lease)) {
        return Ok(());
    }
    Err(Refusal::LeaseLost { kind: rows::Jobs::NAME, key: job.id.to_string() })
}
