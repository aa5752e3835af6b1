//! Ends the work of a job.

use super::steps::reservation_id;
use crate::books::{Books, Command, Refusal, RowKeys};
use crate::charging::{Absorb, FinishedWork, Payer};
use std::sync::Arc;
use tithe_free_tier::RequestHash;
use tithe_jobs::{
    Completion, FinishReason, InvalidTransition, Job, JobEvent, JobId, JobState, Lease, WorkTerms,
};
use tithe_ledger::AccountId;
use tithe_pricing::{CostSplit, ModelRates, Priced, Usage};
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

/// Ends a job's work: settles it, or releases what was reserved for it, and refunds what is left. Returns the job as it is now.
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
        let JobState::Executing { work, .. } = &job.state else {
            return Err(InvalidTransition { from: job.state.name().as_str(), event: "work finished" }.into());
        };
        let event = match &self.outcome {
            WorkOutcome::Completed { text, usage, estimated, finish, rates } => {
                let settlement = self.settle(books, &job, work, usage, rates.as_ref())?;
                let (text, usage, estimated, finish) = (text.clone(), *usage, *estimated, *finish);
                JobEvent::Completed { completion: Completion { text, usage, estimated, finish, settlement } }
            }
            WorkOutcome::Failed { message, fault } => {
                if *fault == Fault::Request {
                    books.job_fault(&job)?;
                }
                JobEvent::Failed { message: message.clone() }
            }
        };
        Ok(Box::new(books.job_step(&job, event, "end")?))
    }
}

impl WorkFinish {
    fn settle(
        &self,
        books: &mut Books<'_>,
        job: &Job,
        work: &WorkTerms,
        usage: &Usage,
        rates: Option<&ModelRates>,
    ) -> Result<CostSplit, Refusal> {
        let price = match rates.map(|rates| rates.price(usage, &work.quote.terms)) {
            Some(Ok(price)) => price,
            Some(Err(_too_large)) => work.quote.max_price(),
            None => work.quote.price_or_max(usage),
        };
        let paid = books.account(AccountId::Job(job.id.0))?.available();
        let id = reservation_id(job.id);
        let is_reserved = job.identity.is_some() && books.live_reservation(id)?.is_some();
        let shares = books.settle(&FinishedWork {
            id: job.id.0,
            identity: job.identity,
            cost: price.msats,
            limit: work.full_amount.to_msats(),
            absorb: if is_reserved { Absorb::Reserved(id) } else { Absorb::Nothing },
            payer: self.payer(),
            request_hash: RequestHash::of(&job.request),
        })?;
        Ok(CostSplit::new(price, shares, paid)?)
    }
}
