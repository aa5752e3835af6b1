//! The simplest store: everything in memory, behind one lock.

mod credits;
mod measurements;
mod payouts;
mod servers;
mod texts;
mod transfers;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use tithe_bootstrap::{Bootstrap, BootstrapId, BootstrapRepository, BootstrapState};
use tithe_clock::Timestamp;
use tithe_engine::books::{Batch, Changes, Committed, LoadedRows, RowKeys, RowKind};
use tithe_engine::for_each_row_kind;
use tithe_engine::records::{IdempotencyId, IdempotencyRecord, ServerRecord, TextDeletion, TextOwner};
use tithe_engine::store::{
    AuditRow, AuditRows, BatchStore, IdentitiesPurged, PeerEvent, RetentionStore, StoreError,
};
use tithe_free_tier::{
    BudgetWindow, FreeTierRepository, Grant, GrantId, GrantLease, Identity, PoolCounters, Reservation,
    ReservationId,
};
use tithe_jobs::{
    Job, JobChange, JobClaim, JobId, JobRepository, JobState, JobSummary, Lease, Refund, WorkPayment,
};
use tithe_ledger::credits::CreditState;
use tithe_ledger::{Account, AccountId, Hold, HoldId, LedgerRepository, Transfer, TransferKey};
use tithe_lightning::{ExpiryWindow, Invoice, InvoiceRepository, InvoiceState, PaymentHash};
use tithe_paywall::KeyId;
use tithe_sessions::{
    KeptRequest, KeptState, KeptTotals, RequestCursor, RequestId, Session, SessionId, SessionKey,
    SessionKindName, SessionRepository, SessionRequest, SessionState, StateName,
};
use tithe_trust::NostrPubkey;
use tokio::sync::broadcast;
use uuid::Uuid;

macro_rules! tables {
    ($($field:ident: $kind:path,)*) => {
        #[derive(Default)]
        struct Tables {
            $($field: BTreeMap<<$kind as RowKind>::Key, <$kind as RowKind>::Row>,)*
            grants: BTreeMap<GrantId, Grant>,
            /// In the order in which they were made.
            transfers: Vec<Transfer>,
            transfer_keys: HashSet<TransferKey>,
            job_changes: Vec<JobChange>,
            servers: BTreeMap<Uuid, ServerRecord>,
            text_deletions: BTreeMap<TextOwner, TextDeletion>,
        }

        impl Tables {
            fn load(&self, keys: &RowKeys) -> LoadedRows {
                let exists = |key: &&TransferKey| self.transfer_keys.contains(key);
                LoadedRows {
                    $($field: keys.$field.iter().filter_map(|key| self.$field.get(key).cloned()).collect(),)*
                    transfers: keys.transfers.iter().filter(exists).cloned().collect(),
                }
            }

            /// Whether the rows that are made do not exist, and those that are changed do; whether each account has one payout in
            /// flight at most; and whether each credit is of an install whose quota covers it.
            fn fits(&self, changes: &Changes) -> bool {
                let (mut keys, mut grants) = (HashSet::new(), HashSet::new());
                $(changes.$field.made.iter().all(|row| !self.$field.contains_key(&<$kind>::key(row)))
                    && changes.$field.changed.iter().all(|row| self.$field.contains_key(&<$kind>::key(row))) &&)*
                changes.transfers.iter().all(|new| !self.transfer_keys.contains(&new.key) && keys.insert(&new.key))
                    && changes.grants.iter().all(|new| !self.grants.contains_key(&new.id) && grants.insert(new.id))
                    && self.payouts_fit(changes)
                    && self.credits_fit(changes)
            }

            fn write(&mut self, changes: &Changes) -> Result<(), StoreError> {
                if !self.fits(changes) {
                    return Err(StoreError::Failed("a row exists that must not, or the other way round".into()));
                }
                $(self.$field.extend(changes.$field.iter().map(|row| (<$kind>::key(row), row.clone())));)*
                self.grants.extend(changes.grants.iter().map(|row| (row.id, row.clone())));
                self.transfer_keys.extend(changes.transfers.iter().map(|row| row.key.clone()));
                self.transfers.extend_from_slice(&changes.transfers);
                self.job_changes.extend(&changes.job_changes);
                Ok(())
            }
        }
    };
}

for_each_row_kind!(tables);

/// A store that forgets everything when it is dropped. For tests, and as the reference for other stores.
pub struct MemoryStore {
    tables: Mutex<Tables>,
    events: broadcast::Sender<PeerEvent>,
    texts_published: AtomicUsize,
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
        Self {
            tables: Mutex::default(),
            events: broadcast::Sender::new(64),
            texts_published: AtomicUsize::new(0),
        }
    }

    /// Tells every server that notifications may have been lost.
    pub fn lose_notifications(&self) {
        let _nobody_listens = self.events.send(PeerEvent::Resync);
    }

    /// How many parts of texts servers have published.
    #[must_use]
    pub fn texts_published(&self) -> usize {
        self.texts_published.load(Ordering::SeqCst)
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().expect("no holder panics")
    }
}

#[async_trait]
impl BatchStore for MemoryStore {
    async fn batch_commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        let mut tables = self.tables();
        let decided = batch.decide(tables.load(batch.keys()));
        tables.write(&decided.changes)?;
        if !decided.changes.job_changes.is_empty() {
            let _nobody_listens = self.events.send(PeerEvent::Steps(decided.changes.job_changes.clone()));
        }
        Ok(Committed { outcomes: decided.outcomes, job_changes: decided.changes.job_changes })
    }

    async fn idempotency(&self, id: &IdempotencyId) -> Result<Option<IdempotencyRecord>, StoreError> {
        Ok(self.tables().idempotency_keys.get(id).cloned())
    }

    async fn audit_rows(&self) -> Result<AuditRows, StoreError> {
        let tables = self.tables();
        let transfers = tables.transfers.iter().cloned().map(AuditRow::Transfer);
        let accounts = tables.accounts.values().cloned().map(AuditRow::Account);
        let holds = tables.holds.values().cloned().map(AuditRow::Hold);
        let invoices = tables.invoices.values().cloned().map(AuditRow::Invoice);
        let jobs = tables.jobs.values().cloned().map(|job| AuditRow::Job(Box::new(job)));
        let sessions = tables.sessions.values().cloned().map(|row| AuditRow::Session(Box::new(row)));
        let requests =
            tables.session_requests.values().cloned().map(|row| AuditRow::SessionRequest(Box::new(row)));
        let kept = tables.kept_requests.values().cloned().map(|row| AuditRow::KeptRequest(Box::new(row)));
        let bootstraps = tables.bootstraps.values().cloned().map(|row| AuditRow::Bootstrap(Box::new(row)));
        let obligations = tables.obligations.values().cloned().map(|row| AuditRow::Obligation(Box::new(row)));
        let payouts = tables.payouts.values().cloned().map(|row| AuditRow::Payout(Box::new(row)));
        let installs = tables.installs.values().cloned().map(|row| AuditRow::Install(Box::new(row)));
        let credits = tables.credits.values().cloned().map(|row| AuditRow::Credit(Box::new(row)));
        let identities = tables.identities.values().cloned().map(|row| AuditRow::Identity(Box::new(row)));
        let reservations = tables.reservations.values().cloned().map(AuditRow::Reservation);
        let counters = tables.pool_counters.values().copied().map(AuditRow::PoolCounters);
        let grants = tables.grants.values().cloned().map(AuditRow::Grant);
        let free_tier = identities.chain(reservations).chain(counters).chain(grants);
        let rows: Vec<_> = transfers
            .chain(accounts)
            .chain(holds)
            .chain(free_tier)
            .chain(invoices)
            .chain(jobs)
            .chain(sessions)
            .chain(kept)
            .chain(requests)
            .chain(bootstraps)
            .chain(obligations)
            .chain(payouts)
            .chain(installs)
            .chain(credits)
            .map(Ok)
            .collect();
        Ok(futures_util::stream::iter(rows).boxed())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn writable(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn peer_events(&self) -> BoxStream<'static, PeerEvent> {
        let next = async |mut events: broadcast::Receiver<PeerEvent>| {
            let event = match events.recv().await {
                Ok(event) => event,
                Err(broadcast::error::RecvError::Lagged(_)) => PeerEvent::Resync,
                // The store is gone; nothing more happens.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            };
            Some((event, events))
        };
        futures_util::stream::unfold(self.events.subscribe(), next).boxed()
    }

    async fn publish(&self, event: &PeerEvent) -> Result<(), StoreError> {
        if matches!(event, PeerEvent::Text(_)) {
            self.texts_published.fetch_add(1, Ordering::SeqCst);
        }
        let _nobody_listens = self.events.send(event.clone());
        Ok(())
    }
}

/// Removes the first `limit` rows that are `gone`, and returns their keys.
fn remove<K: Clone + Ord, V>(
    rows: &mut BTreeMap<K, V>,
    limit: usize,
    gone: impl Fn(&V) -> bool,
) -> BTreeSet<K> {
    let gone = rows.iter().filter(|(_, row)| gone(row)).map(|(key, _)| key.clone());
    let gone: BTreeSet<K> = gone.take(limit).collect();
    rows.retain(|key, _| !gone.contains(key));
    gone
}

#[async_trait]
impl RetentionStore for MemoryStore {
    async fn idempotency_purge(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        Ok(remove(&mut self.tables().idempotency_keys, limit, |record| record.expires_at <= now).len())
    }

    async fn auth_nonces_purge(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        Ok(remove(&mut self.tables().auth_nonces, limit, |nonce| nonce.expires_at <= now).len())
    }

    async fn install_origins_purge(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        Ok(remove(&mut self.tables().install_origins, limit, |origin| origin.is_over(now)).len())
    }

    async fn credits_purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let gone = remove(&mut self.tables().credits, limit, |credit| {
            matches!(credit.state, CreditState::Released | CreditState::Expired { late: None })
                && credit.updated_at < before
        });
        Ok(gone.len())
    }

    async fn expired_texts_purge(&self, limit: usize) -> Result<usize, StoreError> {
        let mut tables = self.tables();
        let has_text =
            |job: &&mut Job| matches!(job.state, JobState::Expired { .. }) && !job.request.is_empty();
        let texts = tables.jobs.values_mut().filter(has_text).take(limit);
        let delete = |job: &mut Job| (job.request, job.text_deleted_at) = ("".into(), Some(job.updated_at));
        Ok(texts.map(delete).count())
    }

    async fn old_texts_purge(
        &self,
        before: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let mut tables = self.tables();
        let Tables { jobs, session_requests, .. } = &mut *tables;
        let old = |created: Timestamp, updated: Timestamp| created < before && updated < before;
        let old_jobs = jobs.values_mut().filter(|job| old(job.created_at, job.updated_at));
        let jobs = old_jobs.filter_map(|job| job.without_texts(now).map(|gone| *job = gone));
        let old_requests = session_requests.values_mut().filter(|row| old(row.created_at, row.updated_at));
        let requests = old_requests.filter_map(|row| row.without_text(now).map(|gone| *row = gone));
        Ok(jobs.take(limit).count() + requests.take(limit).count())
    }

    async fn kept_requests_purge(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let gone = remove(&mut self.tables().kept_requests, limit, |kept| match kept.state {
            KeptState::Ended => true,
            KeptState::Offered => kept.expires_at <= now,
            KeptState::Held { .. } | KeptState::Settling { .. } | KeptState::Cancelling => false,
        });
        Ok(gone.len())
    }

    async fn unpaid_jobs_purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut tables = self.tables();
        let Tables { jobs, invoices, accounts, job_changes, .. } = &mut *tables;
        let gone = remove(jobs, limit, |job| {
            matches!(job.state, JobState::Expired { work: None, .. })
                && job.refund == Refund::NotApplicable
                && job.updated_at < before
                && !accounts.contains_key(&AccountId::Job(job.id.0))
        });
        invoices.retain(|_, invoice| !gone.contains(&JobId(invoice.owner.0)));
        job_changes.retain(|change| !gone.contains(&change.job));
        Ok(gone.len())
    }

    async fn unpaid_sessions_purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut tables = self.tables();
        let Tables { sessions, invoices, .. } = &mut *tables;
        let gone = remove(sessions, limit, |session| {
            session.stored_state_name() == StateName::Expired
                && session.paid_in.is_zero()
                && session.updated_at < before
        });
        invoices.retain(|_, invoice| !gone.contains(&SessionId(invoice.owner.0)));
        Ok(gone.len())
    }

    async fn unpaid_bootstraps_purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut tables = self.tables();
        let Tables { bootstraps, invoices, accounts, .. } = &mut *tables;
        let gone = remove(bootstraps, limit, |bootstrap| {
            bootstrap.state == BootstrapState::Expired
                && bootstrap.updated_at < before
                && !accounts.contains_key(&AccountId::Bootstrap(bootstrap.id.0))
        });
        invoices.retain(|_, invoice| !gone.contains(&BootstrapId(invoice.owner.0)));
        Ok(gone.len())
    }

    async fn job_changes_purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut tables = self.tables();
        let (count, mut looked_at) = (tables.job_changes.len(), 0);
        tables.job_changes.retain(|change| {
            looked_at += 1;
            looked_at > limit || change.at >= before
        });
        Ok(count - tables.job_changes.len())
    }

    async fn identities_purge(
        &self,
        after: Option<NostrPubkey>,
        before: Timestamp,
        limit: usize,
    ) -> Result<IdentitiesPurged, StoreError> {
        let mut tables = self.tables();
        let Tables { identities, jobs, sessions, bootstraps, .. } = &mut *tables;
        let page = identities.keys().filter(|key| after.is_none_or(|after| **key > after));
        let page: Vec<NostrPubkey> = page.take(limit).copied().collect();
        let next = page.last().filter(|_| page.len() >= limit).copied();
        let deleted = remove(identities, limit, |identity| {
            page.contains(&identity.pubkey())
                && identity.trust.last_seen < before
                && identity.trust.interactions == 0
                && identity.window == BudgetWindow::default()
                && !jobs.values().any(|job| job.identity == Some(identity.pubkey()))
                && !sessions.values().any(|session| session.identity == Some(identity.pubkey()))
                && !bootstraps.values().any(|row| row.identity == Some(identity.pubkey()))
        });
        Ok(IdentitiesPurged { deleted: deleted.len(), next })
    }
}

/// Whether the payment of a job is held.
const fn is_held(job: &Job) -> bool {
    matches!(job.state, JobState::Held { .. } | JobState::Settling { .. } | JobState::Cancelling { .. })
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
        free.sort_by_key(|job| (!is_held(job), job.updated_at));
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

    async fn jobs_of_identity(
        &self,
        identity: NostrPubkey,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobSummary>, StoreError> {
        let tables = self.tables();
        let theirs = tables.jobs.values().rev().filter(|job| job.identity == Some(identity));
        let older = theirs.filter(|job| before.is_none_or(|before| job.id < before));
        let summary = |job: &Job| JobSummary {
            id: job.id,
            state: job.state.name(),
            model: job.model.clone(),
            created_at: job.created_at,
            updated_at: job.updated_at,
            refund: job.refund,
        };
        Ok(older.take(limit).map(summary).collect())
    }

    async fn jobs_never_invoiced(&self, before: Timestamp, limit: usize) -> Result<Vec<JobId>, StoreError> {
        let tables = self.tables();
        let waits =
            |job: &&Job| job.state == JobState::AwaitingEvalPayment && job.evaluation_invoice().is_none();
        let old = tables.jobs.values().filter(waits).filter(|job| job.created_at < before);
        Ok(old.take(limit).map(|job| job.id).collect())
    }

    async fn jobs_on_hold(&self) -> Result<u64, StoreError> {
        let is_on_hold = |job: &&Job| {
            let can_be_paid = matches!(job.state, JobState::AwaitingWorkPayment { .. });
            is_held(job) || can_be_paid && job.work_payment == WorkPayment::Held
        };
        Ok(self.tables().jobs.values().filter(is_on_hold).count().try_into().unwrap_or(u64::MAX))
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

    async fn invoices_expired(
        &self,
        window: ExpiryWindow,
        after: Option<(Timestamp, PaymentHash)>,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError> {
        let tables = self.tables();
        let expired = tables.invoices.values().filter(|invoice| invoice.state == InvoiceState::Expired);
        let place = |invoice: &Invoice| (invoice.expires_at, invoice.payment_hash);
        let mut expired: Vec<Invoice> = expired
            .filter(|invoice| window.contains(invoice.expires_at))
            .filter(|invoice| after.is_none_or(|after| place(invoice) > after))
            .cloned()
            .collect();
        expired.sort_by_key(place);
        expired.truncate(limit);
        Ok(expired)
    }

    async fn invoices_open_count(&self, now: Timestamp) -> Result<u64, StoreError> {
        let tables = self.tables();
        let is_open = |invoice: &&Invoice| invoice.state == InvoiceState::Pending && invoice.expires_at > now;
        Ok(u64::try_from(tables.invoices.values().filter(is_open).count()).unwrap())
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
        let lease = |hold: &Hold| hold.state.lease().ok().filter(|until| *until <= now);
        let mut holds: Vec<Hold> =
            tables.holds.values().filter(|hold| lease(hold).is_some()).cloned().collect();
        holds.sort_by_key(lease);
        holds.truncate(limit);
        Ok(holds)
    }
}

#[async_trait]
impl FreeTierRepository for MemoryStore {
    type Error = StoreError;

    async fn identity(&self, pubkey: NostrPubkey) -> Result<Option<Identity>, StoreError> {
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
        let lease = |row: &Reservation| {
            row.state.lease().ok().and_then(GrantLease::until).filter(|until| *until <= now)
        };
        let mut overdue: Vec<Reservation> =
            tables.reservations.values().filter(|row| lease(row).is_some()).cloned().collect();
        overdue.sort_by_key(lease);
        overdue.truncate(limit);
        Ok(overdue)
    }

    async fn pool_counters(&self) -> Result<PoolCounters, StoreError> {
        Ok(self.tables().pool_counters.get(&()).copied().unwrap_or_default())
    }

    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        Ok(self.tables().grants.get(&id).cloned())
    }
}

#[async_trait]
impl SessionRepository for MemoryStore {
    type Error = StoreError;

    async fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        Ok(self.tables().sessions.get(&id).cloned())
    }

    async fn session_request(&self, id: RequestId) -> Result<Option<SessionRequest>, StoreError> {
        Ok(self.tables().session_requests.get(&id).cloned())
    }

    async fn session_requests(
        &self,
        session: SessionId,
        before: Option<RequestCursor>,
        limit: usize,
    ) -> Result<Vec<SessionRequest>, StoreError> {
        let tables = self.tables();
        let theirs = tables.session_requests.values().rev().filter(|request| request.session == session);
        let older = theirs.filter(|request| before.is_none_or(|RequestCursor(before)| request.id < before));
        Ok(older.take(limit).cloned().collect())
    }

    async fn kept_request(&self, session: SessionId) -> Result<Option<KeptRequest>, StoreError> {
        Ok(self.tables().kept_requests.get(&session).cloned())
    }

    async fn kept_requests_due(&self, now: Timestamp, limit: usize) -> Result<Vec<SessionId>, StoreError> {
        let tables = self.tables();
        let due = tables.kept_requests.values().filter(|kept| kept.is_due() && kept.lease.until <= now);
        let mut due: Vec<&KeptRequest> = due.collect();
        due.sort_by_key(|kept| kept.updated_at);
        Ok(due.into_iter().take(limit).map(|kept| kept.session).collect())
    }

    async fn kept_requests_total(&self) -> Result<KeptTotals, StoreError> {
        let tables = self.tables();
        let open = tables.kept_requests.values().filter(|kept| kept.state != KeptState::Ended);
        Ok(open.fold(KeptTotals::default(), |total, kept| {
            let bytes = kept.sent.as_ref().map_or(0, |sent| sent.bytes());
            let bytes = u64::try_from(bytes).expect("a small number");
            KeptTotals { requests: total.requests + 1, bytes: total.bytes + bytes }
        }))
    }

    async fn session_keys(&self, session: SessionId) -> Result<Vec<SessionKey>, StoreError> {
        let tables = self.tables();
        let theirs = tables.session_keys.values().filter(|key| key.session == session);
        let mut keys: Vec<SessionKey> = theirs.cloned().collect();
        keys.sort_by_key(|key| (key.first_used_at, key.id));
        Ok(keys)
    }

    async fn session_keys_revoked(&self, session: SessionId) -> Result<Vec<KeyId>, StoreError> {
        let tables = self.tables();
        let theirs = tables.session_keys.values().filter(|key| key.session == session);
        Ok(theirs.filter(|key| key.revoked_at.is_some()).map(|key| key.id).collect())
    }

    async fn sessions_never_invoiced(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<SessionId>, StoreError> {
        let tables = self.tables();
        let waits = |session: &&Session| {
            session.state == SessionState::AwaitingPayment && session.deposit_invoice.is_none()
        };
        let old = tables.sessions.values().filter(waits).filter(|session| session.created_at < before);
        Ok(old.take(limit).map(|session| session.id).collect())
    }

    async fn sessions_to_warn(
        &self,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, StoreError> {
        let tables = self.tables();
        let due = tables.sessions.values().filter(|session| session.warned.is_due());
        let mut due: Vec<&Session> = due.filter(|session| Some(session.id) > after).collect();
        due.sort_by_key(|session| session.id);
        Ok(due.into_iter().take(limit).cloned().collect())
    }

    async fn session_keys_to_warn(
        &self,
        after: Option<(SessionId, KeyId)>,
        limit: usize,
    ) -> Result<Vec<SessionKey>, StoreError> {
        let tables = self.tables();
        let due = tables.session_keys.values().filter(|key| key.warned.is_due());
        let mut due: Vec<&SessionKey> = due.filter(|key| Some((key.session, key.id)) > after).collect();
        due.sort_by_key(|key| (key.session, key.id));
        Ok(due.into_iter().take(limit).cloned().collect())
    }

    async fn sessions_idle(
        &self,
        kind: SessionKindName,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<SessionId>, StoreError> {
        let tables = self.tables();
        let idle = |session: &&Session| {
            session.state == SessionState::Active
                && session.kind.name() == kind
                && session.last_used_at < before
        };
        let mut idle: Vec<&Session> = tables.sessions.values().filter(idle).collect();
        idle.sort_by_key(|session| session.last_used_at);
        Ok(idle.into_iter().take(limit).map(|session| session.id).collect())
    }
}

#[async_trait]
impl BootstrapRepository for MemoryStore {
    type Error = StoreError;

    async fn bootstrap(&self, id: BootstrapId) -> Result<Option<Bootstrap>, StoreError> {
        Ok(self.tables().bootstraps.get(&id).cloned())
    }

    async fn bootstraps_due(&self, now: Timestamp, limit: usize) -> Result<Vec<BootstrapId>, StoreError> {
        let tables = self.tables();
        let due = tables.bootstraps.values().filter(|row| row.is_open() && row.claimable_at <= now);
        let mut due: Vec<&Bootstrap> = due.collect();
        due.sort_by_key(|row| row.claimable_at);
        Ok(due.into_iter().take(limit).map(|row| row.id).collect())
    }

    async fn bootstraps_never_invoiced(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<BootstrapId>, StoreError> {
        let tables = self.tables();
        let waits = |row: &&Bootstrap| row.state == BootstrapState::AwaitingPayment && row.invoice.is_none();
        let old = tables.bootstraps.values().filter(waits).filter(|row| row.created_at < before);
        Ok(old.take(limit).map(|row| row.id).collect())
    }
}
