//! Ends a job whose held payment has gone back.

use crate::books::{Books, Command, Posting, Refusal, RowKeys};
use tithe_jobs::{InvalidTransition, Job, JobEvent, JobId, JobState, Lease};
use tithe_ledger::{AccountId, TransferKey, TransferKind};
use tithe_trust::NostrPubkey;

const GONE_BACK: &str =
    "The work was done, but the payment had gone back before it could be taken. Nothing was paid.";

/// Ends a job whose held payment has gone back, as it was to, or before it could be taken. Nothing is due to the customer. Work that was
/// done is deleted, and booked as uncollected. Returns the job as it is now.
#[derive(Debug, Clone)]
pub struct HoldEnd {
    /// The job.
    pub job: JobId,
    /// The job's identity.
    pub identity: Option<NostrPubkey>,
    /// The lease under which the wallet was asked.
    pub lease: Lease,
}

impl Command for HoldEnd {
    type Reply = Box<Job>;
    const NAME: &'static str = "hold_end";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_job(self.job, self.identity);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Box<Job>, Refusal> {
        let job = books.job_leased(self.job, self.identity, &self.lease)?;
        let message = match &job.state {
            JobState::Settling { answer, .. } => {
                if !answer.price.msats.is_zero() {
                    books.post(Posting {
                        key: TransferKey::new(format!("uncollected:{}:held", job.id)),
                        debit: AccountId::Operator,
                        credit: AccountId::Revenue,
                        amount: answer.price.msats,
                        kind: TransferKind::Uncollected,
                        reference: job.id.0,
                    })?;
                }
                GONE_BACK.to_owned()
            }
            JobState::Cancelling { message, .. } => message.clone(),
            state => {
                return Err(InvalidTransition { from: state.name().as_str(), event: "hold ended" }.into());
            }
        };
        Ok(Box::new(books.job_step(&job, JobEvent::Failed { message }, "end")?))
    }
}
