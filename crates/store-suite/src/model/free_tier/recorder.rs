//! Finds out in which order several servers' batches were committed.
//!
//! A [`Recorder`] stands between a server's committer and its store. To each batch it adds one more command, the stamp: a
//! msat for the pool, under a key of its own. Every batch thus changes the pool's row, which it locks after all the rows
//! that exist and that it decides on, and keeps until it commits. So of any two batches one has all its rows only after the
//! other has committed, and the transfers of their stamps are written, and numbered, in that order. The stores stream
//! transfers in the order of these numbers. What does not exist cannot be locked: of that, see [`super::race`].
//!
//! Nothing is serialised here: batches meet in the database as they would without the recorder, but for the pool, which all
//! but a few kinds of commands of the free tier want anyway.

use async_trait::async_trait;
use futures_util::StreamExt;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tithe_clock::Timestamp;
use tithe_engine::commands::{Batch, Command, Outcome, Posting};
use tithe_engine::idempotency::{IdempotencyId, IdempotencyRecord};
use tithe_engine::store::{AuditRow, AuditRows, BatchStore, Committed, Store, StoreError};
use tithe_free_tier::{FreeTierRepository, Grant, GrantId, PoolTally, Reservation, ReservationId, Standing};
use tithe_jobs::{Job, JobChange, JobClaim, JobId, JobRepository, Lease};
use tithe_ledger::{Account, AccountId, Hold, HoldId, LedgerRepository, TransferKey, TransferKind};
use tithe_lightning::{Invoice, InvoiceRepository, PaymentHash};
use tithe_money::Msats;
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// A batch that was committed, with its stamp as the last command.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    stamp: u64,
    pub(super) commands: Vec<Command>,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) now: Timestamp,
    /// When it was asked for and answered, by one count for all servers.
    pub(super) began: u64,
    pub(super) ended: u64,
}

/// What several recorders have seen.
#[derive(Default)]
pub(super) struct Log {
    entries: Mutex<Vec<Entry>>,
    stamps: AtomicU64,
    ticks: AtomicU64,
    failures: AtomicU64,
}

impl Log {
    /// All batches, in the order in which they were committed. That order must also be one that was possible: no batch
    /// comes before one that was answered before it was asked for.
    pub(super) async fn in_order(&self, store: &dyn Store) -> Vec<Entry> {
        assert_eq!(self.failures.load(Ordering::SeqCst), 0, "every batch can be written");
        let mut entries: HashMap<u64, Entry> =
            self.entries.lock().unwrap().iter().map(|entry| (entry.stamp, entry.clone())).collect();
        let mut rows = store.audit_rows().await.unwrap();
        let (mut ordered, mut last_began) = (Vec::new(), 0);
        while let Some(row) = rows.next().await {
            let AuditRow::Transfer(transfer) = row.unwrap() else { continue };
            let Some(stamp) = transfer.key.as_str().strip_prefix("stamp:") else { continue };
            let entry = entries.remove(&stamp.parse().unwrap()).expect("what is written was told");
            assert!(
                entry.ended > last_began,
                "a batch was overtaken by one that was asked for after it had ended"
            );
            last_began = last_began.max(entry.began);
            ordered.push(entry);
        }
        assert!(entries.is_empty(), "what was told is written: {entries:?}");
        ordered
    }

    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }
}

/// One server's store, with what its batches were.
pub(super) struct Recorder {
    pub(super) store: Arc<dyn Store>,
    pub(super) log: Arc<Log>,
}

#[async_trait]
impl BatchStore for Recorder {
    async fn batch_commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        let stamp = self.log.stamps.fetch_add(1, Ordering::SeqCst);
        let mut commands = batch.commands().to_vec();
        commands.push(Command::Post(Posting {
            key: TransferKey::new(format!("stamp:{stamp}")),
            debit: AccountId::Operator,
            credit: AccountId::Pool,
            amount: Msats::new(1).unwrap(),
            kind: TransferKind::Adjustment,
            reference: Uuid::nil(),
        }));
        let now = batch.now();
        let stamped = Batch::under(Arc::new(batch.rules().clone()), commands.clone(), now);
        let began = self.log.tick();
        let committed = self.store.batch_commit(&stamped).await;
        let ended = self.log.tick();
        let Ok(mut committed) = committed else {
            self.log.failures.fetch_add(1, Ordering::SeqCst);
            return committed;
        };
        let outcomes = committed.outcomes.clone();
        self.log.entries.lock().unwrap().push(Entry { stamp, commands, outcomes, now, began, ended });
        committed.outcomes.pop();
        Ok(committed)
    }

    async fn idempotency(&self, id: &IdempotencyId) -> Result<Option<IdempotencyRecord>, StoreError> {
        self.store.idempotency(id).await
    }

    async fn idempotency_purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.store.idempotency_purge(now).await
    }

    async fn proofs_purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.store.proofs_purge(now).await
    }

    async fn audit_rows(&self) -> Result<AuditRows, StoreError> {
        self.store.audit_rows().await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.store.ready().await
    }
}

#[async_trait]
impl JobRepository for Recorder {
    type Error = StoreError;

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.store.job(id).await
    }

    async fn job_changes(&self, id: JobId, revision: u32) -> Result<Vec<JobChange>, StoreError> {
        self.store.job_changes(id, revision).await
    }

    async fn jobs_claim(&self, claim: &JobClaim) -> Result<Vec<Job>, StoreError> {
        self.store.jobs_claim(claim).await
    }

    async fn job_lease_renew(&self, id: JobId, lease: &Lease, until: Timestamp) -> Result<bool, StoreError> {
        self.store.job_lease_renew(id, lease, until).await
    }

    async fn job_lease_hand_back(
        &self,
        id: JobId,
        lease: &Lease,
        rest: Timestamp,
    ) -> Result<bool, StoreError> {
        self.store.job_lease_hand_back(id, lease, rest).await
    }

    async fn jobs_never_invoiced(&self, before: Timestamp, limit: usize) -> Result<Vec<JobId>, StoreError> {
        self.store.jobs_never_invoiced(before, limit).await
    }
}

#[async_trait]
impl InvoiceRepository for Recorder {
    type Error = StoreError;

    async fn invoice(&self, payment_hash: PaymentHash) -> Result<Option<Invoice>, StoreError> {
        self.store.invoice(payment_hash).await
    }

    async fn invoices_pending(
        &self,
        after: Option<PaymentHash>,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError> {
        self.store.invoices_pending(after, limit).await
    }

    async fn invoices_lapsed(
        &self,
        since: Timestamp,
        after: Option<PaymentHash>,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError> {
        self.store.invoices_lapsed(since, after, limit).await
    }

    async fn invoices_pending_count(&self) -> Result<u64, StoreError> {
        self.store.invoices_pending_count().await
    }
}

#[async_trait]
impl LedgerRepository for Recorder {
    type Error = StoreError;

    async fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        self.store.account(id).await
    }

    async fn hold(&self, id: HoldId) -> Result<Option<Hold>, StoreError> {
        self.store.hold(id).await
    }

    async fn holds_overdue(&self, now: Timestamp, limit: usize) -> Result<Vec<Hold>, StoreError> {
        self.store.holds_overdue(now, limit).await
    }
}

#[async_trait]
impl FreeTierRepository for Recorder {
    type Error = StoreError;

    async fn standing(&self, pubkey: NostrPubkey) -> Result<Option<Standing>, StoreError> {
        self.store.standing(pubkey).await
    }

    async fn reservation(&self, id: ReservationId) -> Result<Option<Reservation>, StoreError> {
        self.store.reservation(id).await
    }

    async fn reservations_overdue(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Reservation>, StoreError> {
        self.store.reservations_overdue(now, limit).await
    }

    async fn pool_tally(&self) -> Result<PoolTally, StoreError> {
        self.store.pool_tally().await
    }

    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        self.store.grant(id).await
    }
}
