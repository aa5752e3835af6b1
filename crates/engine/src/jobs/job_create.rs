//! Records a new job.

use crate::books::rows::{self, RowKind};
use crate::books::{Books, Command, Refusal, RowKeys};
use crate::idempotency::KeyBegun;
use crate::identities::RequestSignature;
use crate::records::{IdempotencyRequest, StoredResponse};
use tithe_jobs::{Job, JobId};
use uuid::Uuid;

/// Records a new job, before the wallet is asked for an invoice, and begins its idempotency key.
#[derive(Debug, Clone)]
pub struct JobCreate {
    /// The job, new.
    pub job: Box<Job>,
    /// The client's idempotency key, if it gave one.
    pub idempotency: Option<IdempotencyRequest>,
    /// The signature of the request.
    pub signature: RequestSignature,
    /// The job that the key had made before, which was abandoned before it was shown to anybody: the key begins anew, once.
    pub instead_of: Option<JobId>,
}

/// How [`JobCreate`] ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobCreated {
    /// The job was recorded.
    New,
    /// An earlier request with this key was abandoned. The job was not recorded; the caller continues the earlier one.
    Resumed {
        /// The id of the job that the earlier request has made.
        subject: Option<Uuid>,
    },
    /// The request was answered before; nothing has changed.
    Replayed(StoredResponse),
}

impl Command for JobCreate {
    type Reply = JobCreated;
    const NAME: &'static str = "job_create";

    fn declare(&self, keys: &mut RowKeys) {
        keys.jobs.insert(self.job.id);
        keys.identities.extend(self.job.identity);
        keys.idempotency_keys.extend(self.idempotency.iter().map(|request| request.id.clone()));
        self.signature.declare(keys);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<JobCreated, Refusal> {
        let job = self.job.as_ref();
        if let Some(request) = &self.idempotency {
            match books.key_begin(request, Some(job.id.0), self.instead_of.map(|job| job.0))? {
                KeyBegun::New => {}
                KeyBegun::Resumed { subject } => {
                    self.signature.consume_again(books)?;
                    return Ok(JobCreated::Resumed { subject });
                }
                KeyBegun::Replayed(response) => return Ok(JobCreated::Replayed(response)),
            }
        }
        self.signature.consume(books)?;
        if books.rows.jobs.contains(&job.id)? {
            return Err(Refusal::exists(rows::Jobs::NAME, &job.id));
        }
        if let Some(pubkey) = job.identity
            && !books.rows.identities.contains(&pubkey)?
        {
            // The job's row refers to a row of its identity.
            let identity = books.identity(pubkey)?;
            books.rows.identities.put(identity)?;
        }
        books.rows.jobs.put(job.clone())?;
        Ok(JobCreated::New)
    }
}
