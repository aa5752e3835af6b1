//! The use cases of jobs.

use super::feed::JobFeed;
use crate::admission::{Admission, UnpaidCounts};
use crate::claim_token::ClaimTokens;
use crate::committer::CommitListener;
use crate::core::Core;
use crate::idempotency::Idempotency;
use crate::identities::Identities;
use crate::inference::BackendHealth;
use crate::payments::Payments;
use crate::payouts::Payouts;
use crate::purchases::Purchases;
use crate::quotes::Quotes;
use crate::sales::SalesServices;
use std::sync::Arc;
use tithe_jobs::{JobChange, LeaseOwner};

/// The use cases of jobs.
pub struct Jobs {
    pub(super) core: Arc<Core>,
    pub(super) idempotency: Arc<Idempotency>,
    pub(super) identities: Arc<Identities>,
    pub(super) payments: Arc<Payments>,
    pub(super) quotes: Arc<Quotes>,
    pub(super) feed: Arc<JobFeed>,
    pub(super) tokens: ClaimTokens,
    pub(super) payouts: Arc<Payouts>,
    pub(super) purchases: Arc<Purchases>,
    pub(super) admission: Arc<Admission>,
    pub(super) backend: Arc<BackendHealth>,
    /// The name of this run of this server, in leases.
    pub(super) lease_owner: LeaseOwner,
}

/// Wakes the followers of jobs, and stops counting jobs that have been paid for, when steps are committed.
pub(crate) struct JobSteps {
    pub(crate) feed: Arc<JobFeed>,
    pub(crate) unpaid: Arc<UnpaidCounts>,
}

impl CommitListener for JobSteps {
    fn committed(&self, changes: &[JobChange]) {
        self.unpaid.observe(changes);
        self.feed.publish(changes);
    }
}

impl Jobs {
    pub(crate) fn new(
        core: Arc<Core>,
        services: SalesServices,
        steps: &JobSteps,
        tokens: ClaimTokens,
    ) -> Self {
        let SalesServices {
            idempotency,
            identities,
            payments,
            purchases,
            payouts,
            quotes,
            backend,
            admission,
        } = services;
        let feed = steps.feed.clone();
        let random = core.ports.entropy.bytes();
        let lease_owner = LeaseOwner(uuid::Builder::from_random_bytes(random).into_uuid());
        Self {
            core,
            idempotency,
            identities,
            payments,
            quotes,
            feed,
            tokens,
            payouts,
            purchases,
            admission,
            backend,
            lease_owner,
        }
    }

    /// What wakes the followers and workers of this server.
    pub(crate) const fn feed(&self) -> &Arc<JobFeed> {
        &self.feed
    }
}
