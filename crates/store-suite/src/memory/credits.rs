//! Installs, their credits, and revoked licences.

use super::{MemoryStore, Tables};
use async_trait::async_trait;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use tithe_clock::Timestamp;
use tithe_engine::books::Changes;
use tithe_engine::store::{LicenceStore, StoreError};
use tithe_ledger::credits::{Backend, Credit, CreditId, CreditRepository, Install, InstallId};
use tithe_licences::{LicenceId, Revocation};

impl Tables {
    /// Whether each install that is written has periods that begin on a day of the month; and whether each credit is of an install, and
    /// is covered by its quota.
    pub(super) fn credits_fit(&self, changes: &Changes) -> bool {
        if changes.installs.iter().any(|row| !(1..=31).contains(&row.anchor_day)) {
            return false;
        }
        let made: BTreeSet<InstallId> = changes.installs.iter().map(|row| row.id).collect();
        let mut written = changes.credits.iter();
        written.all(|row| {
            (self.installs.contains_key(&row.install) || made.contains(&row.install))
                && row.quota.requests.is_none_or(|most| row.used_after <= most)
                && (row.backend == Backend::Hardware
                    || row.quota.cloud.is_none_or(|most| row.cloud_used_after <= most))
        })
    }
}

#[async_trait]
impl CreditRepository for MemoryStore {
    type Error = StoreError;

    async fn install(&self, id: InstallId) -> Result<Option<Install>, StoreError> {
        Ok(self.tables().installs.get(&id).cloned())
    }

    async fn installs(&self, after: Option<InstallId>, limit: usize) -> Result<Vec<Install>, StoreError> {
        let tables = self.tables();
        let page = tables.installs.values().filter(|install| Some(install.id) > after);
        Ok(page.take(limit).cloned().collect())
    }

    async fn credit(&self, id: CreditId) -> Result<Option<Credit>, StoreError> {
        Ok(self.tables().credits.get(&id).cloned())
    }

    async fn credits_overdue(&self, now: Timestamp, limit: usize) -> Result<Vec<Credit>, StoreError> {
        let tables = self.tables();
        let lease = |credit: &Credit| credit.state.lease().ok().filter(|until| *until <= now);
        let mut overdue: Vec<Credit> =
            tables.credits.values().filter(|credit| lease(credit).is_some()).cloned().collect();
        overdue.sort_by_key(lease);
        overdue.truncate(limit);
        Ok(overdue)
    }
}

#[async_trait]
impl LicenceStore for MemoryStore {
    async fn licence_revocation(&self, licence: LicenceId) -> Result<Option<Revocation>, StoreError> {
        Ok(self.tables().licence_revocations.get(&licence).cloned())
    }

    async fn licences_revoked(&self) -> Result<Vec<Revocation>, StoreError> {
        let tables = self.tables();
        let mut revoked: Vec<Revocation> = tables.licence_revocations.values().cloned().collect();
        revoked.sort_by_key(|row| (Reverse(row.revoked_at), row.licence));
        Ok(revoked)
    }
}
