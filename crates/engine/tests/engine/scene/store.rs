//! A server's store: the shared one, behind the server's power and what is made to go wrong with it.

use super::power::{Op, Power, When};
use super::{Gate, backend::GateEnd};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tithe_clock::Timestamp;
use tithe_engine::commands::Batch;
use tithe_engine::idempotency::{IdempotencyId, IdempotencyRecord};
use tithe_engine::store::{AuditRows, BatchStore, Committed, Elsewhere, StoreError};
use tithe_free_tier::{FreeTierRepository, Grant, GrantId, PoolTally, Reservation, ReservationId, Standing};
use tithe_jobs::{Job, JobChange, JobClaim, JobId, JobRepository, Lease};
use tithe_ledger::{Account, AccountId, Hold, HoldId, LedgerRepository};
use tithe_lightning::{Invoice, InvoiceRepository, PaymentHash};
use tithe_store_suite::MemoryStore;
use tithe_trust::NostrPubkey;

/// What goes wrong with the store, for all servers.
#[derive(Default)]
pub struct StoreFaults {
    away: AtomicBool,
    /// What the next commits that hold such a command fail with, before anything is written.
    commits: Mutex<VecDeque<(&'static str, Failure)>>,
    /// The next commit of such a command waits.
    gates: Mutex<VecDeque<(&'static str, GateEnd)>>,
    /// The next reading of a job's steps waits after it has read.
    changes_gate: Mutex<Option<GateEnd>>,
}

#[derive(Debug, Clone, Copy)]
enum Failure {
    Unavailable,
    Failed,
    /// The answer is lost; the commit itself happens, or not.
    Lost {
        happens: bool,
    },
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("the test took it away".into())
}

impl StoreFaults {
    /// Every call fails as unavailable until [`StoreFaults::mend`].
    pub fn take_away(&self) {
        self.away.store(true, Ordering::SeqCst);
    }

    pub fn mend(&self) {
        self.away.store(false, Ordering::SeqCst);
        self.commits.lock().unwrap().clear();
    }

    /// The next `count` commits with a command of that name find the database gone.
    pub fn commits_unavailable(&self, command: &'static str, count: usize) {
        self.commits.lock().unwrap().extend(std::iter::repeat_n((command, Failure::Unavailable), count));
    }

    /// The next `count` commits with a command of that name fail.
    pub fn commits_fail(&self, command: &'static str, count: usize) {
        self.commits.lock().unwrap().extend(std::iter::repeat_n((command, Failure::Failed), count));
    }

    /// The next commit with a command of that name happens, or not, and nobody learns which.
    pub fn commit_lost(&self, command: &'static str, happens: bool) {
        self.commits.lock().unwrap().push_back((command, Failure::Lost { happens }));
    }

    /// How many failures are still to come.
    pub fn to_come(&self) -> usize {
        self.commits.lock().unwrap().len()
    }

    /// Stops the next commit with a command of that name, before it happens.
    pub fn gate_commit(&self, command: &'static str) -> Gate {
        let (gate, end) = Gate::pair();
        self.gates.lock().unwrap().push_back((command, end));
        gate
    }

    /// Stops the next reading of a job's steps, after it has read and before it answers.
    pub fn gate_changes(&self) -> Gate {
        let (gate, end) = Gate::pair();
        *self.changes_gate.lock().unwrap() = Some(end);
        gate
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.away.load(Ordering::SeqCst) { Err(unavailable()) } else { Ok(()) }
    }

    /// Commits with what is to go wrong.
    async fn commit(&self, batch: &Batch, store: &MemoryStore) -> Result<Committed, StoreError> {
        self.check()?;
        let has = |name: &str| batch.commands().iter().any(|command| command.name() == name);
        let gate = take(&mut self.gates.lock().unwrap(), has);
        if let Some(gate) = gate {
            gate.pass().await;
        }
        let failure = take(&mut self.commits.lock().unwrap(), has);
        match failure {
            Some(Failure::Unavailable) => Err(unavailable()),
            Some(Failure::Failed) => Err(StoreError::Failed("the test broke it".into())),
            Some(Failure::Lost { happens }) => {
                if happens {
                    store.batch_commit(batch).await?;
                }
                Err(StoreError::OutcomeUnknown("the test lost the answer".into()))
            }
            None => store.batch_commit(batch).await,
        }
    }
}

fn take<T>(queue: &mut VecDeque<(&'static str, T)>, has: impl Fn(&str) -> bool) -> Option<T> {
    let at = queue.iter().position(|(name, _)| has(name))?;
    queue.remove(at).map(|(_, what)| what)
}

pub struct ServerStore {
    pub inner: Arc<MemoryStore>,
    pub faults: Arc<StoreFaults>,
    pub power: Arc<Power>,
}

impl ServerStore {
    async fn read<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let checked = async {
            self.faults.check()?;
            call.await
        };
        self.power.through(Op::Other, checked).await
    }
}

#[async_trait]
impl BatchStore for ServerStore {
    async fn batch_commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        self.power.through(Op::Commit, self.faults.commit(batch, &self.inner)).await
    }

    async fn idempotency(&self, id: &IdempotencyId) -> Result<Option<IdempotencyRecord>, StoreError> {
        self.read(self.inner.idempotency(id)).await
    }

    async fn idempotency_purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.read(self.inner.idempotency_purge(now)).await
    }

    async fn proofs_purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.read(self.inner.proofs_purge(now)).await
    }

    async fn audit_rows(&self) -> Result<AuditRows, StoreError> {
        self.read(self.inner.audit_rows()).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.read(self.inner.ready()).await
    }

    fn elsewhere(&self) -> BoxStream<'static, Elsewhere> {
        self.inner.elsewhere()
    }

    async fn tell(&self, news: &Elsewhere) -> Result<(), StoreError> {
        self.read(self.inner.tell(news)).await
    }
}

#[async_trait]
impl JobRepository for ServerStore {
    type Error = StoreError;

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.read(self.inner.job(id)).await
    }

    async fn job_changes(&self, id: JobId, revision: u32) -> Result<Vec<JobChange>, StoreError> {
        let changes = self.read(self.inner.job_changes(id, revision)).await;
        let gate = self.faults.changes_gate.lock().unwrap().take();
        if let Some(gate) = gate {
            gate.pass().await;
        }
        changes
    }

    async fn jobs_claim(&self, claim: &JobClaim) -> Result<Vec<Job>, StoreError> {
        let jobs = self.read(self.inner.jobs_claim(claim)).await?;
        if !jobs.is_empty() {
            self.power.pass(Op::Claim, self.power.count(Op::Claim), When::After).await;
        }
        Ok(jobs)
    }

    async fn job_lease_renew(&self, id: JobId, lease: &Lease, until: Timestamp) -> Result<bool, StoreError> {
        self.read(self.inner.job_lease_renew(id, lease, until)).await
    }

    async fn job_lease_hand_back(
        &self,
        id: JobId,
        lease: &Lease,
        rest_until: Timestamp,
    ) -> Result<bool, StoreError> {
        self.read(self.inner.job_lease_hand_back(id, lease, rest_until)).await
    }

    async fn jobs_never_invoiced(&self, before: Timestamp, limit: usize) -> Result<Vec<JobId>, StoreError> {
        self.read(self.inner.jobs_never_invoiced(before, limit)).await
    }
}

#[async_trait]
impl InvoiceRepository for ServerStore {
    type Error = StoreError;

    async fn invoice(&self, payment_hash: PaymentHash) -> Result<Option<Invoice>, StoreError> {
        self.read(self.inner.invoice(payment_hash)).await
    }

    async fn invoices_pending(
        &self,
        after: Option<PaymentHash>,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError> {
        self.read(self.inner.invoices_pending(after, limit)).await
    }

    async fn invoices_lapsed(
        &self,
        since: Timestamp,
        after: Option<PaymentHash>,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError> {
        self.read(self.inner.invoices_lapsed(since, after, limit)).await
    }

    async fn invoices_pending_count(&self) -> Result<u64, StoreError> {
        self.read(self.inner.invoices_pending_count()).await
    }
}

#[async_trait]
impl LedgerRepository for ServerStore {
    type Error = StoreError;

    async fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        self.read(self.inner.account(id)).await
    }

    async fn hold(&self, id: HoldId) -> Result<Option<Hold>, StoreError> {
        self.read(self.inner.hold(id)).await
    }

    async fn holds_overdue(&self, now: Timestamp, limit: usize) -> Result<Vec<Hold>, StoreError> {
        self.read(self.inner.holds_overdue(now, limit)).await
    }
}

#[async_trait]
impl FreeTierRepository for ServerStore {
    type Error = StoreError;

    async fn standing(&self, pubkey: NostrPubkey) -> Result<Option<Standing>, StoreError> {
        self.read(self.inner.standing(pubkey)).await
    }

    async fn reservation(&self, id: ReservationId) -> Result<Option<Reservation>, StoreError> {
        self.read(self.inner.reservation(id)).await
    }

    async fn reservations_overdue(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Reservation>, StoreError> {
        self.read(self.inner.reservations_overdue(now, limit)).await
    }

    async fn pool_tally(&self) -> Result<PoolTally, StoreError> {
        self.read(self.inner.pool_tally()).await
    }

    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        self.read(self.inner.grant(id)).await
    }
}

/// A key of the customer's.
pub fn key(text: &str) -> IdempotencyId {
    IdempotencyId { scope: "test".to_owned(), key: text.to_owned() }
}
