//! Commands on jobs and their money.
//!
//! What is paid for a job sits in `job:<id>` until it is earned: the evaluation fee when the evaluation has run, the
//! work's charge when the work is done. When a job ends, whatever is left in its account is owed back, so that an ended
//! job's account is empty (invariant I8); money that arrives later is owed back at once.

use super::Books;
use crate::commands::{Answer, Fault, Outcome, Refusal, Verdict, WorkOutcome};
use crate::idempotency::{Begin, IdempotencyId, IdempotencyRequest, StoredAnswer};
use tithe_jobs::{Completion, InvalidTransition, Job, JobChange, JobEvent, JobId, JobState, Lease};
use tithe_ledger::{AccountId, TransferKey, TransferKind};
use tithe_lightning::{Invoice, InvoiceChange, OwnerId, PaymentHash, Purpose, Settlement};
use tithe_trust::{Interaction, NostrPubkey};

impl Books {
    pub(super) fn job_create(
        &mut self,
        job: &Job,
        idempotency: Option<&IdempotencyRequest>,
        instead_of: Option<JobId>,
    ) -> Outcome {
        if let Some(request) = idempotency {
            let kept = self.idempotency.get(&request.id);
            // Whoever has found out that the key's job was given up may begin anew, once.
            let given_up =
                instead_of.is_some_and(|old| kept.is_some_and(|kept| kept.is_begun_as(request, old.0)));
            match request.begin(kept.filter(|_| !given_up), Some(job.id.0), self.now)? {
                Begin::New(record) => self.idempotency.put(record.id.clone(), record),
                Begin::Resume(record) => {
                    let subject = record.subject;
                    self.idempotency.put(record.id.clone(), record);
                    return Ok(Answer::Resumed { subject });
                }
                Begin::Replay(answer) => return Ok(Answer::Replayed(answer)),
            }
        }
        if self.jobs.get(&job.id).is_some() {
            return Err(Refusal::Exists(format!("job {}", job.id)));
        }
        if let Some(pubkey) = job.identity.filter(|pubkey| self.standings.get(pubkey).is_none()) {
            // A job's identity is a row that the job refers to.
            self.put_standing(self.standing(pubkey));
        }
        self.jobs.put(job.id, job.clone());
        Ok(Answer::Done)
    }

    pub(super) fn invoice_issue(
        &mut self,
        id: JobId,
        invoice: &Invoice,
        lease: Option<&Lease>,
        finish: Option<&(IdempotencyId, StoredAnswer)>,
    ) -> Outcome {
        let job = self.job(id)?;
        if invoice.owner != OwnerId(id.0) {
            return Err(Refusal::OtherOwner(invoice.payment_hash));
        }
        if self.invoices.get(&invoice.payment_hash).is_some() {
            return Err(Refusal::Exists(format!("invoice {}", invoice.payment_hash)));
        }
        let event = match invoice.purpose {
            Purpose::JobEval if job.evaluation.invoice.is_some() => return Ok(Answer::AlreadyDone),
            Purpose::JobEval => JobEvent::EvalInvoiced { invoice: invoice.payment_hash },
            Purpose::JobWork => {
                Self::check_lease(&job, lease)?;
                JobEvent::WorkInvoiced { invoice: invoice.payment_hash }
            }
        };
        let job = self.step(&job, event)?;
        self.invoices.put(invoice.payment_hash, invoice.clone());
        if let Some((key, answer)) = finish {
            self.idempotency_finish(key, answer);
        }
        Ok(Answer::JobMoved(Box::new(job)))
    }

    pub(super) fn payment_credit(
        &mut self,
        id: JobId,
        identity: Option<NostrPubkey>,
        settlement: &Settlement,
    ) -> Outcome {
        let hash = settlement.payment_hash;
        let invoice = self.invoices.get(&hash).ok_or(Refusal::NoSuchInvoice(hash))?.clone();
        if invoice.owner != OwnerId(id.0) {
            return Err(Refusal::OtherOwner(hash));
        }
        let mut job = self.job_of(id, identity)?;
        let (invoice, change) = match invoice.settle(settlement) {
            Err(tithe_lightning::InvoiceError::AlreadyPaid(_)) => return Ok(Answer::AlreadyDone),
            other => other?,
        };
        let key = TransferKey::new(format!("payment:{hash}"));
        let (account, kind) = (AccountId::Job(id.0), TransferKind::JobPayment);
        self.transfer(key, AccountId::Wallet, account, settlement.amount, kind, id.0)?;
        if change == InvoiceChange::Paid && Self::awaits(&job, hash) {
            let event = match invoice.purpose {
                // No Lightning wallet should take less than was asked. If one does, the job ends and it is owed back.
                _ if settlement.amount < invoice.amount => JobEvent::Lapsed,
                Purpose::JobEval => JobEvent::EvalPaid,
                Purpose::JobWork => JobEvent::WorkPaid,
            };
            job = self.step(&job, event)?;
            if matches!(job.state, JobState::Executing { .. }) {
                self.take_up_for_job(&job)?;
            }
        }
        if job.state.name().is_terminal() {
            self.release_for_job(&job)?;
            job = self.owe_what_is_left(&job, &format!("payment:{hash}"))?;
        }
        self.invoices.put(hash, invoice);
        Ok(Answer::JobMoved(Box::new(job)))
    }

    pub(super) fn evaluation_finish(
        &mut self,
        id: JobId,
        identity: Option<NostrPubkey>,
        lease: &Lease,
        verdict: &Verdict,
    ) -> Outcome {
        let job = self.job_of(id, identity)?;
        Self::check_lease(&job, Some(lease))?;
        if !matches!(job.state, JobState::Evaluating | JobState::Accepted { .. }) {
            let from = job.state.name().as_str();
            return Err(InvalidTransition { from, event: "evaluation finished" }.into());
        }
        let event = match verdict {
            Verdict::Accepted(work) => JobEvent::Accepted { work: self.reserve_for_job(&job, work)? },
            Verdict::Rejected(reason) => JobEvent::Rejected { reason: reason.clone() },
            Verdict::Failed(message) => JobEvent::Failed { message: message.clone() },
        };
        let mut job = self.step(&job, event)?;
        if !matches!(verdict, Verdict::Failed(_)) {
            self.charge_evaluation(&job)?;
        }
        if matches!(verdict, Verdict::Rejected(_)) {
            self.interaction_of_job(&job, Interaction::Fault);
        }
        if job.state.name().is_terminal() {
            self.release_for_job(&job)?;
            job = self.owe_what_is_left(&job, "end")?;
        }
        Ok(Answer::JobMoved(Box::new(job)))
    }

    pub(super) fn work_finish(
        &mut self,
        id: JobId,
        identity: Option<NostrPubkey>,
        lease: &Lease,
        outcome: &WorkOutcome,
    ) -> Outcome {
        let job = self.job_of(id, identity)?;
        Self::check_lease(&job, Some(lease))?;
        let JobState::Executing { work, .. } = &job.state else {
            return Err(InvalidTransition { from: job.state.name().as_str(), event: "work finished" }.into());
        };
        let event = match outcome {
            WorkOutcome::Completed { text, usage } => {
                let account = AccountId::Job(id.0);
                let paid = self.account(account).available();
                let settlement = work.quote.settle(usage, paid, self.reserved_for_job(&job))?;
                self.settle_for_job(&job, settlement.absorbed)?;
                self.charge_with_tithe(&format!("charge:{id}:work"), account, settlement.charged, id.0)?;
                self.interaction_of_job(&job, Interaction::Success { paid: settlement.charged });
                JobEvent::Completed {
                    completion: Completion { text: text.clone(), usage: *usage, settlement },
                }
            }
            WorkOutcome::Failed { message, fault } => {
                self.release_for_job(&job)?;
                if *fault == Fault::Request {
                    self.interaction_of_job(&job, Interaction::Fault);
                }
                JobEvent::Failed { message: message.clone() }
            }
        };
        let job = self.step(&job, event)?;
        let job = self.owe_what_is_left(&job, "end")?;
        Ok(Answer::JobMoved(Box::new(job)))
    }

    pub(super) fn invoice_lapse(
        &mut self,
        id: JobId,
        identity: Option<NostrPubkey>,
        hash: PaymentHash,
    ) -> Outcome {
        let invoice = self.invoices.get(&hash).ok_or(Refusal::NoSuchInvoice(hash))?;
        if invoice.owner != OwnerId(id.0) {
            return Err(Refusal::OtherOwner(hash));
        }
        let lapsed = invoice.lapse(self.now)?;
        let job = self.job_of(id, identity)?;
        self.invoices.put(hash, lapsed);
        if !Self::awaits(&job, hash) {
            return Ok(Answer::AlreadyDone);
        }
        let job = self.step(&job, JobEvent::Lapsed)?;
        self.release_for_job(&job)?;
        let job = self.owe_what_is_left(&job, "end")?;
        Ok(Answer::JobMoved(Box::new(job)))
    }

    pub(super) fn job_abandon(&mut self, id: JobId) -> Outcome {
        let job = self.job(id)?;
        if job.evaluation.invoice.is_some() {
            return Ok(Answer::AlreadyDone);
        }
        let job = self.step(&job, JobEvent::Lapsed)?;
        Ok(Answer::JobMoved(Box::new(job)))
    }

    fn job(&self, id: JobId) -> Result<Job, Refusal> {
        self.jobs.get(&id).cloned().ok_or(Refusal::NoSuchJob(id))
    }

    /// The job, whose rows were loaded as those of this identity.
    fn job_of(&self, id: JobId, identity: Option<NostrPubkey>) -> Result<Job, Refusal> {
        let job = self.job(id)?;
        if job.identity == identity { Ok(job) } else { Err(Refusal::OtherIdentity(id)) }
    }

    fn check_lease(job: &Job, claim: Option<&Lease>) -> Result<(), Refusal> {
        if claim.is_some_and(|claim| job.lease.is_held_as(claim)) {
            return Ok(());
        }
        Err(Refusal::LeaseLost(job.id))
    }

    /// Whether the job waits for this invoice to be paid.
    fn awaits(job: &Job, hash: PaymentHash) -> bool {
        match &job.state {
            JobState::AwaitingEvalPayment => job.evaluation.invoice == Some(hash),
            JobState::AwaitingWorkPayment { invoice, .. } => *invoice == hash,
            _ => false,
        }
    }

    /// Takes a step, and tells who follows the job, unless it is one that cannot be seen from outside.
    fn step(&mut self, job: &Job, event: JobEvent) -> Result<Job, Refusal> {
        let next = job.apply(event, self.now)?;
        self.jobs.put(next.id, next.clone());
        if !matches!(next.state, JobState::Accepted { .. }) {
            self.draft_job_changes.push(JobChange {
                job: next.id,
                revision: next.revision,
                state: next.state.name(),
                at: self.now,
            });
        }
        Ok(next)
    }

    /// Earns the evaluation's fee, which has paid for work of ours and is not tithed.
    fn charge_evaluation(&mut self, job: &Job) -> Result<(), Refusal> {
        let (account, amount) = (AccountId::Job(job.id.0), job.evaluation.fee.to_msats());
        if amount.is_zero() {
            return Ok(());
        }
        let key = TransferKey::new(format!("charge:{}:eval", job.id));
        self.transfer(key, account, AccountId::Revenue, amount, TransferKind::Charge, job.id.0)
    }

    /// Empties an ended job's account: whole sats are owed back, what is less is booked to `rounding`. `occasion` tells
    /// one emptying of a job from another.
    fn owe_what_is_left(&mut self, job: &Job, occasion: &str) -> Result<Job, Refusal> {
        let account = AccountId::Job(job.id.0);
        let left = self.account(account).available();
        let refund = left.to_sats_rounding_down();
        let rest = left.checked_sub(refund.to_msats())?;
        if !rest.is_zero() {
            let key = TransferKey::new(format!("rounding:{}:{occasion}", job.id));
            self.transfer(key, account, AccountId::Rounding, rest, TransferKind::Rounding, job.id.0)?;
        }
        if refund.is_zero() {
            return Ok(job.clone());
        }
        let key = TransferKey::new(format!("refund:{}:{occasion}", job.id));
        let (amount, kind) = (refund.to_msats(), TransferKind::RefundAccrued);
        self.transfer(key, account, AccountId::RefundsDue, amount, kind, job.id.0)?;
        // The end of the job and what it leaves are one change to who follows it.
        self.draft_job_changes.retain(|change| change.job != job.id);
        self.step(job, JobEvent::RefundAccrued { amount: refund })
    }
}
