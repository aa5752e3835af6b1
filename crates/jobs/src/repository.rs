//! The repository port for jobs.

use crate::{Job, JobId, Lease, LeaseOwner, Refund, StateName};
use async_trait::async_trait;
use tithe_clock::Timestamp;
use tithe_trust::NostrPubkey;

/// A worker's request for jobs to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobClaim {
    /// The owner that claims the jobs.
    pub owner: LeaseOwner,
    /// The current time.
    pub now: Timestamp,
    /// When the leases of the claimed jobs end.
    pub until: Timestamp,
    /// The maximum number of jobs to claim.
    pub limit: usize,
}

/// A state transition of a job, as its followers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobChange {
    /// The job's id.
    pub job: JobId,
    /// The job's revision after the transition.
    pub revision: u32,
    /// The job's state after the transition.
    pub state: StateName,
    /// When the transition happened.
    pub at: Timestamp,
}

/// A job without its texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSummary {
    /// The job's id.
    pub id: JobId,
    /// The job's state.
    pub state: StateName,
    /// The model that the work runs on.
    pub model: String,
    /// When the job was created.
    pub created_at: Timestamp,
    /// When the job last changed its state.
    pub updated_at: Timestamp,
    /// What is owed to the customer.
    pub refund: Refund,
}

/// Reads jobs and manages leases. Transitions are written by the engine's batches, together with the money they move.
#[async_trait]
pub trait JobRepository: Send + Sync {
    /// The error of a failed read.
    type Error;

    /// The job with this id, or `None`.
    async fn job(&self, id: JobId) -> Result<Option<Job>, Self::Error>;

    /// The job's transitions after `revision`, oldest first.
    async fn job_changes(&self, id: JobId, revision: u32) -> Result<Vec<JobChange>, Self::Error>;

    /// Claims runnable jobs ([`crate::JobState::is_runnable`]) whose lease is free ([`Lease::is_free`]), those
    /// unchanged for the longest time first. Each job is returned with its new lease ([`Lease::claimed`]). Atomic: two
    /// concurrent claims never get the same job. Returns an empty list if there is nothing to do.
    async fn jobs_claim(&self, claim: &JobClaim) -> Result<Vec<Job>, Self::Error>;

    /// Extends the lease to `until` if it is still held as `lease`. Returns whether it was.
    async fn job_lease_renew(&self, id: JobId, lease: &Lease, until: Timestamp) -> Result<bool, Self::Error>;

    /// Returns the job to the queue ([`Lease::handed_back`]) if the lease is still held as `lease`. Returns whether it
    /// was. The job cannot be claimed before `rest_until`.
    async fn job_lease_hand_back(
        &self,
        id: JobId,
        lease: &Lease,
        rest_until: Timestamp,
    ) -> Result<bool, Self::Error>;

    /// The jobs of an identity, newest first, at most `limit`; with `before`, those that are older than that job.
    async fn jobs_of_identity(
        &self,
        identity: NostrPubkey,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobSummary>, Self::Error>;

    /// Jobs created before `before` whose evaluation invoice was never created, at most `limit`.
    async fn jobs_never_invoiced(&self, before: Timestamp, limit: usize) -> Result<Vec<JobId>, Self::Error>;

    /// How many jobs have a hold invoice that can still be paid, or whose payment is held.
    async fn jobs_on_hold(&self) -> Result<u64, Self::Error>;
}
