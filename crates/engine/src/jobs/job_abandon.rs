//! Ends a job that never got an evaluation invoice.

use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_jobs::{JobEvent, JobId};

/// Ends a job whose evaluation invoice was never made: the request for it was abandoned, and nobody was shown the job.
#[derive(Debug, Clone)]
pub struct JobAbandon {
    /// The job.
    pub job: JobId,
}

/// What [`JobAbandon`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abandoned {
    /// The job has ended.
    Now,
    /// The job has an invoice by now; nothing has changed.
    HasInvoice,
}

impl Command for JobAbandon {
    type Reply = Abandoned;
    const NAME: &'static str = "job_abandon";

    fn declare(&self, keys: &mut RowKeys) {
        keys.jobs.insert(self.job);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Abandoned, Refusal> {
        let job = books.job(self.job)?;
        if job.evaluation_invoice().is_some() {
            return Ok(Abandoned::HasInvoice);
        }
        books.job_advance(&job, JobEvent::Expired)?;
        Ok(Abandoned::Now)
    }
}
