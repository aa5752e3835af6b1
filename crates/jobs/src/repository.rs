//! The port to where jobs are kept.

use crate::{Job, JobId, Lease, LeaseOwner, StateName};
use async_trait::async_trait;
use tithe_clock::Timestamp;

/// Who wants work, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobClaim {
    /// Who will work.
    pub owner: LeaseOwner,
    /// The time.
    pub now: Timestamp,
    /// Until when the claimed jobs are theirs.
    pub until: Timestamp,
    /// How many jobs at most.
    pub limit: usize,
}

/// A step that a job has taken, for who follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobChange {
    /// Which job.
    pub job: JobId,
    /// The job's revision after the step.
    pub revision: u32,
    /// The state after the step.
    pub state: StateName,
    /// When.
    pub at: Timestamp,
}

/// Reads jobs and hands out leases. Steps are written with the money that they move, in the engine's batches.
#[async_trait]
pub trait JobRepository: Send + Sync {
    /// What reading can fail with.
    type Error;

    /// The job of this id, or `None`.
    async fn job(&self, id: JobId) -> Result<Option<Job>, Self::Error>;

    /// The steps that a job has taken after `revision`, oldest first.
    async fn job_changes(&self, id: JobId, revision: u32) -> Result<Vec<JobChange>, Self::Error>;

    /// Claims jobs that have something to do ([`crate::JobState::is_runnable`]) and whose lease is free
    /// ([`Lease::is_free`]), the longest unchanged first. Each comes back with its new lease ([`Lease::claimed`]).
    /// Atomic: no job is handed to two claims. Empty when there is nothing to do.
    async fn jobs_claim(&self, claim: &JobClaim) -> Result<Vec<Job>, Self::Error>;

    /// Extends the lease to `until` if it still is held as `lease`; says whether it was.
    async fn job_lease_renew(&self, id: JobId, lease: &Lease, until: Timestamp) -> Result<bool, Self::Error>;

    /// Hands the job back ([`Lease::handed_back`]) if it still is held as `lease`; says whether it was. Nobody claims it
    /// before `rest_until`.
    async fn job_lease_hand_back(
        &self,
        id: JobId,
        lease: &Lease,
        rest_until: Timestamp,
    ) -> Result<bool, Self::Error>;

    /// Jobs made before `before` whose evaluation invoice never came to be, at most `limit`.
    async fn jobs_never_invoiced(&self, before: Timestamp, limit: usize) -> Result<Vec<JobId>, Self::Error>;
}
