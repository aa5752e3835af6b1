//! The naive reference's jobs.

use super::rows::{Fate, RefInvoice, RefJob, Said, micros};
use super::world::World;
use crate::command::Command;
use std::sync::Arc;
use tithe_engine::jobs::{Fault, Verdict, WorkOutcome};
use tithe_jobs::{JobId, Lease};
use tithe_ledger::AccountId;
use tithe_lightning::{Invoice, InvoiceChange, PaymentHash, Purpose, ReceivedPayment};
use tithe_trust::NostrPubkey;
use uuid::Uuid;

impl World {
    pub(super) fn act_on_job(&mut self, command: &Command, now: i128) -> Result<Said, &'static str> {
        match command {
            Command::JobCreate { job, .. } => {
                if self.jobs.contains_key(&job.id.0) {
                    return Err("exists");
                }
                if let Some(who) = job.identity {
                    self.person(who, now);
                }
                let new = RefJob {
                    who: job.identity,
                    state: "awaiting_eval_payment",
                    refund_sats: 0,
                    bill: None,
                    price: None,
                    fee: i128::from(job.evaluation_fee().get()) * 1_000,
                    work: None,
                    eval_invoice: None,
                    work_invoice: None,
                    claim: None,
                };
                self.jobs.insert(job.id.0, new);
                Ok(Said::Done)
            }
            Command::InvoiceIssue { job, identity, invoice, lease, .. } => {
                self.issue(*job, *identity, invoice, lease.as_ref().copied().unwrap_or_default())
            }
            Command::PaymentCredit { job, identity, payment } => self.credit(*job, *identity, payment, now),
            Command::EvaluationFinish { job, identity, lease, verdict } => {
                self.judge(*job, *identity, lease, verdict, now)
            }
            Command::WorkFinish { job, identity, lease, outcome } => {
                self.finish(*job, *identity, lease, outcome, now)
            }
            Command::InvoiceExpire { job, identity, invoice } => self.lapse(*job, *identity, *invoice, now),
            Command::JobAbandon { job } => {
                let job = self.job(*job)?;
                if job.eval_invoice.is_some() {
                    return Ok(Said::AlreadyDone);
                }
                if job.state != "awaiting_eval_payment" {
                    return Err("state");
                }
                job.state = "expired";
                Ok(Said::Done)
            }
            other => panic!("the reference knows no {}", other.name()),
        }
    }

    fn job(&mut self, id: JobId) -> Result<&mut RefJob, &'static str> {
        self.jobs.get_mut(&id.0).ok_or("no job")
    }

    fn job_of(&mut self, id: JobId, who: Option<NostrPubkey>) -> Result<&mut RefJob, &'static str> {
        let job = self.job(id)?;
        if job.who == who { Ok(job) } else { Err("another's job") }
    }

    fn issue(
        &mut self,
        id: JobId,
        who: Option<NostrPubkey>,
        invoice: &Invoice,
        lease: Lease,
    ) -> Result<Said, &'static str> {
        let known = self.invoices.contains_key(&invoice.payment_hash);
        let job = self.job_of(id, who)?;
        if known {
            return Err("exists");
        }
        if invoice.purpose == Purpose::JobEval {
            if job.eval_invoice.is_some() {
                return Ok(Said::AlreadyDone);
            }
            if job.state != "awaiting_eval_payment" {
                return Err("state");
            }
            job.eval_invoice = Some(invoice.payment_hash);
        } else {
            if !job.is_under(&lease) {
                return Err("lease");
            }
            if job.state != "accepted" {
                return Err("state");
            }
            job.work_invoice = Some(invoice.payment_hash);
            job.state = "awaiting_work_payment";
            job.claim = None;
        }
        let expires = micros(invoice.expires_at);
        let paper = RefInvoice { job: id.0, asked: invoice.amount.get().into(), expires, state: "pending" };
        self.invoices.insert(invoice.payment_hash, paper);
        Ok(Said::Done)
    }

    /// Whether a job waits for this invoice.
    fn waits_for(job: &RefJob, hash: PaymentHash) -> bool {
        job.state == "awaiting_eval_payment" && job.eval_invoice == Some(hash)
            || job.state == "awaiting_work_payment" && job.work_invoice == Some(hash)
    }

    fn credit(
        &mut self,
        id: JobId,
        who: Option<NostrPubkey>,
        settlement: &ReceivedPayment,
        now: i128,
    ) -> Result<Said, &'static str> {
        let hash = settlement.payment_hash;
        let paper = self.invoices.get(&hash).ok_or("no invoice")?.clone();
        if paper.job != id.0 {
            return Err("another's invoice");
        }
        self.job_of(id, who)?;
        if paper.state == "paid" {
            return Ok(Said::AlreadyDone);
        }
        let amount = i128::from(settlement.amount.get());
        self.pay(AccountId::Wallet, AccountId::Job(id.0), amount)?;
        let job = self.job(id)?;
        if paper.state == "pending" && Self::waits_for(job, hash) {
            if amount < paper.asked {
                job.state = "expired";
            } else if job.state == "awaiting_eval_payment" {
                (job.state, job.claim) = ("evaluating", Some(1));
            } else {
                (job.state, job.claim) = ("executing", Some(2));
                self.activate(id.0, now);
            }
        }
        self.close_if_ended(id, now);
        self.invoices.get_mut(&hash).unwrap().state = "paid";
        Ok(Said::Credited(match paper.state {
            "expired" => InvoiceChange::PaidLate,
            _ if amount < paper.asked => InvoiceChange::PaidShort,
            _ => InvoiceChange::Paid,
        }))
    }

    fn lapse(
        &mut self,
        id: JobId,
        who: Option<NostrPubkey>,
        hash: PaymentHash,
        now: i128,
    ) -> Result<Said, &'static str> {
        let paper = self.invoices.get_mut(&hash).ok_or("no invoice")?;
        if paper.job != id.0 {
            return Err("another's invoice");
        }
        if paper.state == "paid" || paper.state == "pending" && now < paper.expires {
            return Err("invoice");
        }
        if std::mem::replace(&mut paper.state, "expired") == "expired" {
            return Ok(Said::AlreadyDone);
        }
        let job = self.job_of(id, who)?;
        if Self::waits_for(job, hash) {
            job.state = "expired";
            self.close_if_ended(id, now);
        }
        Ok(Said::Done)
    }

    fn judge(
        &mut self,
        id: JobId,
        who: Option<NostrPubkey>,
        lease: &Lease,
        verdict: &Verdict,
        now: i128,
    ) -> Result<Said, &'static str> {
        let job = self.job_of(id, who)?;
        if !job.is_under(lease) {
            return Err("lease");
        }
        let fee = job.fee;
        match (job.state, verdict) {
            ("evaluating", Verdict::Accepted(terms)) => {
                let full = i128::from(terms.full_amount.get());
                job.work = Some(Arc::new(terms.clone()));
                self.pay(AccountId::Job(id.0), AccountId::Revenue, fee)?;
                let reserved = self.offer(id.0, who, full * 1_000, now);
                let job = self.job(id)?;
                job.price = Some((full, full - reserved / 1_000));
                job.state = if reserved == full * 1_000 { "executing" } else { "accepted" };
            }
            ("evaluating", Verdict::Rejected(_)) => {
                job.state = "rejected";
                self.pay(AccountId::Job(id.0), AccountId::Revenue, fee)?;
                if let Some(who) = who {
                    self.ended(who, None, now);
                }
            }
            ("evaluating" | "accepted", Verdict::Failed(_)) => job.state = "failed",
            _ => return Err("state"),
        }
        self.close_if_ended(id, now);
        Ok(Said::JobMoved(self.jobs[&id.0].view()))
    }

    /// What the pool sets aside of a job's price: all of it; or, as the one offer that somebody may have at a time, as many
    /// whole sats as there are and as offers may hold together; or nothing.
    fn offer(&mut self, id: Uuid, who: Option<NostrPubkey>, price: i128, now: i128) -> i128 {
        let Some(who) = who else { return 0 };
        let most = self.may_take(who, price, now);
        if most == price && price > 0 {
            self.promise(id, who, price, Fate::HeldByJob, now);
            return price;
        }
        let pool = *self.balance(AccountId::Pool);
        let room = self.rules.share_of(pool) - self.offered;
        let whole = most.min(room).max(0) / 1_000 * 1_000;
        if whole == 0 || self.person(who, now).offer.is_some() {
            return 0;
        }
        self.promise(id, who, whole, Fate::Offered, now);
        whole
    }

    fn finish(
        &mut self,
        id: JobId,
        who: Option<NostrPubkey>,
        lease: &Lease,
        outcome: &WorkOutcome,
        now: i128,
    ) -> Result<Said, &'static str> {
        let job = self.job_of(id, who)?;
        if !job.is_under(lease) {
            return Err("lease");
        }
        if job.state != "executing" {
            return Err("state");
        }
        match outcome {
            WorkOutcome::Completed { usage, .. } => {
                let terms = job.work.clone().unwrap();
                let price = terms.quote.rates.price(usage, &terms.quote.terms).unwrap().msats.get();
                let due = i128::from(price).min(job.price.unwrap().0 * 1_000);
                let promised = self.promised(id.0);
                let absorbed = due.min(promised);
                let paid = (due - absorbed).min(*self.balance(AccountId::Job(id.0)));
                self.pay(AccountId::Operator, AccountId::Revenue, i128::from(price) - absorbed - paid)?;
                if promised > 0 {
                    self.settle(id.0, absorbed, now);
                }
                self.charge_with_tithe(AccountId::Job(id.0), paid)?;
                if let Some(who) = who {
                    self.ended(who, Some(paid), now);
                }
                let job = self.job(id)?;
                (job.state, job.bill) = ("complete", Some((absorbed, paid)));
            }
            WorkOutcome::Failed { fault, .. } => {
                job.state = "failed";
                self.release_of(id, now);
                if let Some(who) = who.filter(|_| *fault == Fault::Request) {
                    self.ended(who, None, now);
                }
            }
        }
        self.close_if_ended(id, now);
        Ok(Said::JobMoved(self.jobs[&id.0].view()))
    }

    fn release_of(&mut self, id: JobId, now: i128) {
        if self.promised(id.0) > 0 {
            self.end(id.0, Fate::Released, now);
        }
    }

    /// What an ended job has left is refunded in whole sats; what it had set aside is free.
    fn close_if_ended(&mut self, id: JobId, now: i128) {
        if !self.jobs[&id.0].has_ended() {
            return;
        }
        self.release_of(id, now);
        let account = AccountId::Job(id.0);
        let left = *self.balance(account);
        self.pay(account, AccountId::RefundsDue, left / 1_000 * 1_000).unwrap();
        self.pay(account, AccountId::Rounding, left % 1_000).unwrap();
        let job = self.jobs.get_mut(&id.0).unwrap();
        job.refund_sats += left / 1_000;
        job.claim = None;
    }
}
