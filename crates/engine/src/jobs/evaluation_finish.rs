//! Ends the evaluation of a job's request.

use super::steps::reservation_id;
use crate::books::{Books, Command, Posting, Refusal, RowKeys};
use tithe_jobs::{InvalidTransition, Job, JobEvent, JobId, JobState, Lease, WorkTerms};
use tithe_ledger::{AccountId, TransferKey, TransferKind};
use tithe_trust::NostrPubkey;

/// The result of an evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The request is accepted on these terms.
    Accepted(WorkTerms),
    /// The request is rejected, for this reason.
    Rejected(String),
    /// The evaluation model was run, but its answer cannot be read; the message may be shown to the customer. The fee is earned.
    Unreadable(String),
    /// The request could not be evaluated; the message may be shown to the customer.
    Failed(String),
}

/// Ends a job's evaluation and earns its fee. What the pool is to pay of accepted work is decided here, and reserved. Returns
/// the job as it is now.
#[derive(Debug, Clone)]
pub struct EvaluationFinish {
    /// The job.
    pub job: JobId,
    /// The job's identity.
    pub identity: Option<NostrPubkey>,
    /// The lease under which the evaluation ran.
    pub lease: Lease,
    /// The result.
    pub verdict: Verdict,
}

impl Command for EvaluationFinish {
    type Reply = Box<Job>;
    const NAME: &'static str = "evaluation_finish";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_job(self.job, self.identity);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Box<Job>, Refusal> {
        let job = books.job_leased(self.job, self.identity, &self.lease)?;
        match (&job.state, &self.verdict) {
            // An accepted job can still fail: its work invoice could not be made.
            (JobState::Evaluating, _) | (JobState::Accepted { .. }, Verdict::Failed(_)) => {}
            _ => {
                let from = job.state.name().as_str();
                return Err(InvalidTransition { from, event: "evaluation finished" }.into());
            }
        }
        let event = match &self.verdict {
            Verdict::Accepted(work) => {
                earn_fee(books, &job)?;
                JobEvent::Accepted { work: reserve(books, &job, work)? }
            }
            Verdict::Rejected(reason) => {
                earn_fee(books, &job)?;
                books.job_fault(&job)?;
                JobEvent::Rejected { reason: reason.clone() }
            }
            Verdict::Unreadable(message) => {
                earn_fee(books, &job)?;
                JobEvent::Failed { message: message.clone() }
            }
            Verdict::Failed(message) => JobEvent::Failed { message: message.clone() },
        };
        Ok(Box::new(books.job_step(&job, event, "end")?))
    }
}

/// Decides what the pool pays of accepted work, and reserves it.
fn reserve(books: &mut Books<'_>, job: &Job, work: &WorkTerms) -> Result<WorkTerms, Refusal> {
    let Some(pubkey) = job.identity else { return Ok(work.clone()) };
    let reserved = books.reserve_invoiced(reservation_id(job.id), pubkey, work.full_amount)?;
    Ok(work.clone().with_reserved(reserved.to_sats_rounding_down())?)
}

/// The key of the transfer that charges the evaluation of a job.
pub(crate) fn evaluation_key(job: JobId) -> TransferKey {
    TransferKey::new(format!("charge:{job}:eval"))
}

/// Earns the evaluation fee. It pays for work of ours, and is not tithed.
fn earn_fee(books: &mut Books<'_>, job: &Job) -> Result<(), Refusal> {
    let amount = job.evaluation_fee().to_msats();
    if amount.is_zero() {
        return Ok(());
    }
    books.post(Posting {
        key: evaluation_key(job.id),
        debit: AccountId::Job(job.id.0),
        credit: AccountId::Revenue,
        amount,
        kind: TransferKind::Charge,
        reference: job.id.0,
    })
}
