//! Records a new job.

use crate::books::rows::{self, RowKind};
use crate::books::{Books, Command, Refusal, RowKeys};
use crate::idempotency::KeyBegun;
use crate::identities::RequestSignature;
use crate::purchases::NewPurchase;
use crate::records::IdempotencyRequest;
use tithe_jobs::{Job, JobId};

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

impl JobCreate {
    fn purchase(&self) -> NewPurchase<'_> {
        NewPurchase {
            id: self.job.id.0,
            identity: self.job.identity,
            idempotency: self.idempotency.as_ref(),
            signature: self.signature,
            instead_of: self.instead_of.map(|job| job.0),
        }
    }
}

impl Command for JobCreate {
    type Reply = KeyBegun;
    const NAME: &'static str = "job_create";

    fn declare(&self, keys: &mut RowKeys) {
        keys.jobs.insert(self.job.id);
        self.purchase().declare(keys);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<KeyBegun, Refusal> {
        let begun = self.purchase().begin(books)?;
        if begun == KeyBegun::New {
            let job = self.job.as_ref();
            if books.rows.jobs.contains(&job.id)? {
                return Err(Refusal::exists(rows::Jobs::NAME, &job.id));
            }
            books.rows.jobs.put(job.clone())?;
        }
        Ok(begun)
    }
}
