//! The simplest store: everything in memory, behind one lock.

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use tithe_clock::Timestamp;
use tithe_engine::commands::{Batch, LockKeys};
use tithe_engine::idempotency::{IdempotencyId, IdempotencyRecord};
use tithe_engine::proof::{ProofId, UsedProof};
use tithe_engine::store::{
    AuditRow, AuditRows, BatchStore, Changes, Committed, Elsewhere, Loaded, StoreError,
};
use tithe_free_tier::{
    FreeTierRepository, Grant, GrantId, PoolTally, Reservation, ReservationId, ReservationState, Standing,
};
use tithe_jobs::{Job, JobChange, JobClaim, JobId, JobRepository, JobState, Lease};
use tithe_ledger::{Account, AccountId, Hold, HoldId, HoldState, LedgerRepository, Transfer, TransferKey};
use tithe_lightning::{Invoice, InvoiceRepository, InvoiceState, PaymentHash};
use tithe_trust::NostrPubkey;
use tokio::sync::broadcast;

#[derive(Default)]
struct Tables {
    accounts: BTreeMap<AccountId, Account>,
    holds: BTreeMap<HoldId, Hold>,
    jobs: BTreeMap<JobId, Job>,
    invoices: BTreeMap<PaymentHash, Invoice>,
    idempotency: BTreeMap<IdempotencyId, IdempotencyRecord>,
    identities: BTreeMap<NostrPubkey, Standing>,
    proofs: BTreeMap<ProofId, UsedProof>,
    reservations: BTreeMap<ReservationId, Reservation>,
    tally: Option<PoolTally>,
    grants: BTreeMap<GrantId, Grant>,
    /// In the order in which they were made.
    transfers: Vec<Transfer>,
    posted: HashSet<TransferKey>,
    job_changes: Vec<JobChange>,
}

/// A store that forgets everything when it is dropped. For tests, and as the reference for other stores.
pub struct MemoryStore {
    tables: Mutex<Tables>,
    told: broadcast::Sender<Elsewhere>,
    texts_told: AtomicUsize,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { tables: Mutex::default(), told: broadcast::Sender::new(64), texts_told: AtomicUsize::new(0) }
    }

    /// Tells every server that something may have been missed.
    pub fn lose_news(&self) {
        let _nobody_listens = self.told.send(Elsewhere::Missed);
    }

    /// How many parts of texts servers have told each other.
    #[must_use]
    pub fn texts_told(&self) -> usize {
        self.texts_told.load(Ordering::SeqCst)
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().expect("no holder panics")
    }
}

impl Tables {
    fn load(&self, keys: &LockKeys) -> Loaded {
        Loaded {
            holds: keys.holds.iter().filter_map(|key| self.holds.get(key).cloned()).collect(),
            jobs: keys.jobs.iter().filter_map(|key| self.jobs.get(key).cloned()).collect(),
            invoices: keys.invoices.iter().filter_map(|key| self.invoices.get(key).cloned()).collect(),
            idempotency: keys
                .idempotency
                .iter()
                .filter_map(|key| self.idempotency.get(key).cloned())
                .collect(),
            transfers: keys.transfers.iter().filter(|key| self.posted.contains(key)).cloned().collect(),
            accounts: keys.accounts.iter().filter_map(|key| self.accounts.get(key).cloned()).collect(),
            identities: keys.identities.iter().filter_map(|key| self.identities.get(key).cloned()).collect(),
            proofs: keys.proofs.iter().filter_map(|key| self.proofs.get(key).copied()).collect(),
            reservations: keys
                .reservations
                .iter()
                .filter_map(|key| self.reservations.get(key).cloned())
                .collect(),
            tally: self.tally.filter(|_| keys.tally),
        }
    }

    fn write(&mut self, changes: &Changes) -> Result<(), StoreError> {
        let (mut keys, mut proofs, mut grants) = (HashSet::new(), HashSet::new(), HashSet::new());
        let all_new = changes
            .transfers
            .iter()
            .all(|new| !self.posted.contains(&new.key) && keys.insert(&new.key))
            && changes.proofs.iter().all(|new| !self.proofs.contains_key(&new.id) && proofs.insert(new.id))
            && changes.grants.iter().all(|new| !self.grants.contains_key(&new.id) && grants.insert(new.id));
        if !all_new {
            return Err(StoreError::Failed("there is such a transfer, proof or grant already".into()));
        }
        self.identities.extend(changes.identities.iter().map(|row| (row.pubkey(), row.clone())));
        self.proofs.extend(changes.proofs.iter().map(|row| (row.id, *row)));
        self.reservations.extend(changes.reservations.iter().map(|row| (row.id, row.clone())));
        self.tally = changes.tally.or(self.tally);
        self.grants.extend(changes.grants.iter().map(|row| (row.id, row.clone())));
        self.holds.extend(changes.holds.iter().map(|row| (row.id, row.clone())));
        self.jobs.extend(changes.jobs.iter().map(|row| (row.id, row.clone())));
        self.invoices.extend(changes.invoices.iter().map(|row| (row.payment_hash, row.clone())));
        self.idempotency.extend(changes.idempotency.iter().map(|row| (row.id.clone(), row.clone())));
        self.accounts.extend(changes.accounts.iter().map(|row| (row.id(), row.clone())));
        self.posted.extend(changes.transfers.iter().map(|row| row.key.clone()));
        self.transfers.extend_from_slice(&changes.transfers);
        self.job_changes.extend(&changes.job_changes);
        Ok(())
    }
}

#[async_trait]
impl BatchStore for MemoryStore {
    async fn batch_commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        let mut tables = self.tables();
        let decided = batch.decide(tables.load(batch.keys()));
        tables.write(&decided.changes)?;
        if !decided.changes.job_changes.is_empty() {
            let _nobody_listens = self.told.send(Elsewhere::Steps(decided.changes.job_changes.clone()));
        }
        Ok(Committed { outcomes: decided.outcomes, job_changes: decided.changes.job_changes })
    }

    async fn idempotency(&self, id: &IdempotencyId) -> Result<Option<IdempotencyRecord>, StoreError> {
        Ok(self.tables().idempotency.get(id).cloned())
    }

    async fn idempotency_purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut tables = self.tables();
        let before = tables.idempotency.len();
        tables.idempotency.retain(|_, record| record.expires_at > now);
        Ok(u64::try_from(before - tables.idempotency.len()).unwrap())
    }

    async fn proofs_purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut tables = self.tables();
        let before = tables.proofs.len();
        tables.proofs.retain(|_, proof| proof.expires_at > now);
        Ok(u64::try_from(before - tables.proofs.len()).unwrap())
    }

    async fn audit_rows(&self) -> Result<AuditRows, StoreError> {
        let tables = self.tables();
        let transfers = tables.transfers.iter().cloned().map(AuditRow::Transfer);
        let accounts = tables.accounts.values().cloned().map(AuditRow::Account);
        let holds = tables.holds.values().cloned().map(AuditRow::Hold);
        let invoices = tables.invoices.values().cloned().map(AuditRow::Invoice);
        let jobs = tables.jobs.values().cloned().map(|job| AuditRow::Job(Box::new(job)));
        let identities = tables.identities.values().cloned().map(|row| AuditRow::Identity(Box::new(row)));
        let reservations = tables.reservations.values().cloned().map(AuditRow::Reservation);
        let tally = tables.tally.map(AuditRow::Tally);
        let grants = tables.grants.values().cloned().map(AuditRow::Grant);
        let free_tier = identities.chain(reservations).chain(tally).chain(grants);
        let rows: Vec<_> = transfers
            .chain(accounts)
            .chain(holds)
            .chain(free_tier)
            .chain(invoices)
            .chain(jobs)
            .map(Ok)
            .collect();
        Ok(futures_util::stream::iter(rows).boxed())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn elsewhere(&self) -> BoxStream<'static, Elsewhere> {
        let next = async |mut told: broadcast::Receiver<Elsewhere>| {
            let news = match told.recv().await {
                Ok(news) => news,
                Err(broadcast::error::RecvError::Lagged(_)) => Elsewhere::Missed,
                // Whoever used the store has gone; there is no more news.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            };
            Some((news, told))
        };
        futures_util::stream::unfold(self.told.subscribe(), next).boxed()
    }

    async fn tell(&self, news: &Elsewhere) -> Result<(), StoreError> {
        if matches!(news, Elsewhere::Text(_)) {
            self.texts_told.fetch_add(1, Ordering::SeqCst);
        }
        let _nobody_listens = self.told.send(news.clone());
        Ok(())
    }
}

#[async_trait]
impl JobRepository for MemoryStore {
    type Error = StoreError;

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        Ok(self.tables().jobs.get(&id).cloned())
    }

    async fn job_changes(&self, id: JobId, revision: u32) -> Result<Vec<JobChange>, StoreError> {
        let tables = self.tables();
        let changes =
            tables.job_changes.iter().filter(|change| change.job == id && change.revision > revision);
        Ok(changes.copied().collect())
    }

    async fn jobs_claim(&self, claim: &JobClaim) -> Result<Vec<Job>, StoreError> {
        let mut tables = self.tables();
        let mut free: Vec<&mut Job> = tables
            .jobs
            .values_mut()
            .filter(|job| job.state.is_runnable() && job.lease.is_free(claim.now))
            .collect();
        free.sort_by_key(|job| job.updated_at);
        Ok(free
            .into_iter()
            .take(claim.limit)
            .map(|job| {
                job.lease = job.lease.claimed(claim.owner, claim.until);
                job.clone()
            })
            .collect())
    }

    async fn job_lease_renew(&self, id: JobId, lease: &Lease, until: Timestamp) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        let Some(job) = tables.jobs.get_mut(&id).filter(|job| job.lease.is_held_as(lease)) else {
            return Ok(false);
        };
        job.lease.until = Some(until);
        Ok(true)
    }

    async fn job_lease_hand_back(
        &self,
        id: JobId,
        lease: &Lease,
        rest_until: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        let Some(job) = tables.jobs.get_mut(&id).filter(|job| job.lease.is_held_as(lease)) else {
            return Ok(false);
        };
        job.lease = job.lease.handed_back(rest_until);
        Ok(true)
    }

    async fn jobs_never_invoiced(&self, before: Timestamp, limit: usize) -> Result<Vec<JobId>, StoreError> {
        let tables = self.tables();
        let waits =
            |job: &&Job| job.state == JobState::AwaitingEvalPayment && job.evaluation.invoice.is_none();
        let old = tables.jobs.values().filter(waits).filter(|job| job.created_at < before);
        Ok(old.take(limit).map(|job| job.id).collect())
    }
}

#[async_trait]
impl InvoiceRepository for MemoryStore {
    type Error = StoreError;

    async fn invoice(&self, payment_hash: PaymentHash) -> Result<Option<Invoice>, StoreError> {
        Ok(self.tables().invoices.get(&payment_hash).cloned())
    }

    async fn invoices_pending(
        &self,
        after: Option<PaymentHash>,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError> {
        let tables = self.tables();
        let pending = tables.invoices.values().filter(|invoice| invoice.state == InvoiceState::Pending);
        Ok(pending.filter(|invoice| Some(invoice.payment_hash) > after).take(limit).cloned().collect())
    }

    async fn invoices_lapsed(
        &self,
        since: Timestamp,
        after: Option<PaymentHash>,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError> {
        let tables = self.tables();
        let lapsed = tables.invoices.values().filter(|invoice| invoice.state == InvoiceState::Expired);
        let recent = lapsed.filter(|invoice| invoice.expires_at >= since);
        Ok(recent.filter(|invoice| Some(invoice.payment_hash) > after).take(limit).cloned().collect())
    }

    async fn invoices_pending_count(&self) -> Result<u64, StoreError> {
        let tables = self.tables();
        let pending =
            tables.invoices.values().filter(|invoice| invoice.state == InvoiceState::Pending).count();
        Ok(u64::try_from(pending).unwrap())
    }
}

#[async_trait]
impl LedgerRepository for MemoryStore {
    type Error = StoreError;

    async fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        Ok(self.tables().accounts.get(&id).cloned())
    }

    async fn hold(&self, id: HoldId) -> Result<Option<Hold>, StoreError> {
        Ok(self.tables().holds.get(&id).cloned())
    }

    async fn holds_overdue(&self, now: Timestamp, limit: usize) -> Result<Vec<Hold>, StoreError> {
        let tables = self.tables();
        let overdue =
            |hold: &&Hold| matches!(hold.state, HoldState::Held { lease_until } if lease_until <= now);
        let mut holds: Vec<Hold> = tables.holds.values().filter(overdue).cloned().collect();
        holds.sort_by_key(|hold| match hold.state {
            HoldState::Held { lease_until } => lease_until,
            _ => now,
        });
        holds.truncate(limit);
        Ok(holds)
    }
}

#[async_trait]
impl FreeTierRepository for MemoryStore {
    type Error = StoreError;

    async fn standing(&self, pubkey: NostrPubkey) -> Result<Option<Standing>, StoreError> {
        Ok(self.tables().identities.get(&pubkey).cloned())
    }

    async fn reservation(&self, id: ReservationId) -> Result<Option<Reservation>, StoreError> {
        Ok(self.tables().reservations.get(&id).cloned())
    }

    async fn reservations_overdue(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Reservation>, StoreError> {
        let tables = self.tables();
        let lease = |row: &Reservation| match row.state {
            ReservationState::Held { until } => until.filter(|until| *until <= now),
            _ => None,
        };
        let mut overdue: Vec<Reservation> =
            tables.reservations.values().filter(|row| lease(row).is_some()).cloned().collect();
        overdue.sort_by_key(lease);
        overdue.truncate(limit);
        Ok(overdue)
    }

    async fn pool_tally(&self) -> Result<PoolTally, StoreError> {
        Ok(self.tables().tally.unwrap_or_default())
    }

    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        Ok(self.tables().grants.get(&id).cloned())
    }
}
