//! Ends the work of a job.

use super::steps::reservation_id;
use crate::books::{Books, Command, Refusal, RowKeys};
use crate::charging::{Absorb, Payer};
use std::sync::Arc;
use tithe_jobs::{
    Completion, FinishReason, HeldAnswer, InvalidTransition, Job, JobEvent, JobId, JobState, Lease, WorkTerms,
};
use tithe_ledger::AccountId;
use tithe_pricing::{ModelRates, Price, Priced, Usage};
use tithe_trust::NostrPubkey;

/// The result of a job's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkOutcome {
    /// The work is done.
    Completed {
        /// The text.
        text: Arc<str>,
        /// The tokens that it used.
        usage: Usage,
        /// Whether the tokens were counted here, because the backend reported none.
        estimated: bool,
        /// Why it ended.
        finish: FinishReason,
        /// The prices at which it was done, if they are not those of the job's quote, which covers them.
        rates: Option<ModelRates>,
    },
    /// The work could not be done.
    Failed {
        /// The reason, which may be shown to the customer.
        message: String,
        /// Whose fault it was.
        fault: Fault,
    },
}

/// Whose fault it is that work failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The server's, or its backend's.
    Server,
    /// The customer's: the backend refused the request.
    Request,
}

/// Ends a job's work: settles it, or releases what was reserved for it, and refunds what is left. If its payment is held, that is decided
/// and not yet done: the payment is to be taken, or to be given back. Returns the job as it is now.
#[derive(Debug, Clone)]
pub struct WorkFinish {
    /// The job.
    pub job: JobId,
    /// The job's identity.
    pub identity: Option<NostrPubkey>,
    /// The lease under which the work ran.
    pub lease: Lease,
    /// The result.
    pub outcome: WorkOutcome,
}

impl WorkFinish {
    const fn payer(&self) -> Payer {
        Payer::Deposit(AccountId::Job(self.job.0))
    }
}

impl Command for WorkFinish {
    type Reply = Box<Job>;
    const NAME: &'static str = "work_finish";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_job(self.job, self.identity);
        if matches!(self.outcome, WorkOutcome::Completed { .. }) {
            keys.declare_settlement(self.payer(), Absorb::Reserved(reservation_id(self.job)), self.identity);
        }
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Box<Job>, Refusal> {
        let job = books.job_leased(self.job, self.identity, &self.lease)?;
        let (work, is_held) = match &job.state {
            JobState::Executing { work, .. } => (work, false),
            JobState::Held { work, .. } => (work, true),
            state => {
                return Err(InvalidTransition { from: state.name().as_str(), event: "work finished" }.into());
            }
        };
        let event = match &self.outcome {
            WorkOutcome::Completed { text, usage, estimated, finish, rates } => {
                let price = price_of(work, usage, rates.as_ref());
                let (text, usage, estimated, finish) = (text.clone(), *usage, *estimated, *finish);
                let answer = HeldAnswer { text, usage, estimated, finish, price };
                if is_held {
                    // It is charged when its payment is settled.
                    JobEvent::WorkDone { answer }
                } else {
                    let settlement = books.work_settle(&job, work, price)?;
                    JobEvent::Completed { completion: Completion::of(answer, settlement) }
                }
            }
            WorkOutcome::Failed { message, fault } => {
                if *fault == Fault::Request {
                    books.job_fault(&job)?;
                }
                let message = message.clone();
                if is_held { JobEvent::WorkCancelled { message } } else { JobEvent::Failed { message } }
            }
        };
        Ok(Box::new(books.job_step(&job, event, "end")?))
    }
}

/// What the work costs, where it was done.
fn price_of(work: &WorkTerms, usage: &Usage, rates: Option<&ModelRates>) -> Price {
    match rates.map(|rates| rates.price(usage, &work.quote.terms)) {
        Some(Ok(price)) => price,
        Some(Err(_too_large)) => work.quote.max_price(),
        None => work.quote.price_or_max(usage),
    }
}
