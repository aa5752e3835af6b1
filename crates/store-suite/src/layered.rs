//! A store in front of another store, so that tests see or change what goes through.

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tithe_bootstrap::{Bootstrap, BootstrapId, BootstrapRepository};
use tithe_clock::Timestamp;
use tithe_engine::books::{Batch, Committed};
use tithe_engine::records::{
    IdempotencyId, IdempotencyRecord, ServerRecord, TextDeletion, TextOwner, TextsFound,
};
use tithe_engine::store::{
    AuditRows, BatchStore, IdentitiesPurged, LedgerTotals, LicenceStore, MeasurementStore, Measurements,
    NumberedTransfer, PeerEvent, ReconciliationStore, RetentionStore, ServerStore, Store, StoreError,
    TextStore, TimeRange, TransferStore, TransferSum,
};
use tithe_free_tier::{
    FreeTierRepository, Grant, GrantId, Identity, PoolCounters, Reservation, ReservationId,
};
use tithe_jobs::{Job, JobChange, JobClaim, JobId, JobRepository, JobSummary, Lease};
use tithe_ledger::credits::{Credit, CreditId, CreditRepository, Install, InstallId};
use tithe_ledger::{Account, AccountId, Hold, HoldId, LedgerRepository, Transfer, TransferKey};
use tithe_licences::{LicenceId, Revocation};
use tithe_lightning::{ExpiryWindow, Invoice, InvoiceRepository, PaymentHash};
use tithe_payouts::{Obligation, ObligationRepository, Payout};
use tithe_paywall::KeyId;
use tithe_sessions::{
    KeptRequest, KeptTotals, RequestCursor, RequestId, Session, SessionId, SessionKey, SessionKindName,
    SessionRepository, SessionRequest,
};
use tithe_trust::NostrPubkey;
use uuid::Uuid;

type StoreResult<T> = Result<T, StoreError>;

/// What a layer does with the calls that go through it. Everything is passed on unless a method is overridden.
pub trait StoreLayer: Send + Sync + 'static {
    /// The store behind the layer.
    fn inner(&self) -> &dyn Store;

    /// Passes on any call but `batch_commit`.
    fn pass<T: Send>(
        &self,
        call: impl Future<Output = StoreResult<T>> + Send,
    ) -> impl Future<Output = StoreResult<T>> + Send {
        call
    }

    /// Passes on a batch.
    fn batch_commit(&self, batch: &Batch) -> impl Future<Output = StoreResult<Committed>> + Send {
        async move { self.inner().batch_commit(batch).await }
    }

    /// Streams what the audit checks.
    fn audit_rows(&self) -> impl Future<Output = StoreResult<AuditRows>> + Send {
        self.pass(self.inner().audit_rows())
    }

    /// Sees the result of reading a job's steps.
    fn after_job_changes(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Sees the result of claiming jobs.
    fn after_jobs_claim(&self, _claimed: &[Job]) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// A store with a layer in front of it.
pub struct Layered<L>(pub L);

#[async_trait]
impl<L: StoreLayer> BatchStore for Layered<L> {
    async fn batch_commit(&self, batch: &Batch) -> StoreResult<Committed> {
        self.0.batch_commit(batch).await
    }

    async fn idempotency(&self, id: &IdempotencyId) -> StoreResult<Option<IdempotencyRecord>> {
        self.0.pass(self.0.inner().idempotency(id)).await
    }

    async fn audit_rows(&self) -> StoreResult<AuditRows> {
        self.0.audit_rows().await
    }

    async fn ready(&self) -> StoreResult<()> {
        self.0.pass(self.0.inner().ready()).await
    }

    async fn writable(&self) -> StoreResult<()> {
        self.0.pass(self.0.inner().writable()).await
    }

    fn peer_events(&self) -> BoxStream<'static, PeerEvent> {
        self.0.inner().peer_events()
    }

    async fn publish(&self, event: &PeerEvent) -> StoreResult<()> {
        self.0.pass(self.0.inner().publish(event)).await
    }
}

#[async_trait]
impl<L: StoreLayer> RetentionStore for Layered<L> {
    async fn idempotency_purge(&self, now: Timestamp, limit: usize) -> StoreResult<usize> {
        self.0.pass(self.0.inner().idempotency_purge(now, limit)).await
    }

    async fn auth_nonces_purge(&self, now: Timestamp, limit: usize) -> StoreResult<usize> {
        self.0.pass(self.0.inner().auth_nonces_purge(now, limit)).await
    }

    async fn install_origins_purge(&self, now: Timestamp, limit: usize) -> StoreResult<usize> {
        self.0.pass(self.0.inner().install_origins_purge(now, limit)).await
    }

    async fn credits_purge(&self, before: Timestamp, limit: usize) -> StoreResult<usize> {
        self.0.pass(self.0.inner().credits_purge(before, limit)).await
    }

    async fn expired_texts_purge(&self, limit: usize) -> StoreResult<usize> {
        self.0.pass(self.0.inner().expired_texts_purge(limit)).await
    }

    async fn old_texts_purge(&self, before: Timestamp, now: Timestamp, limit: usize) -> StoreResult<usize> {
        self.0.pass(self.0.inner().old_texts_purge(before, now, limit)).await
    }

    async fn kept_requests_purge(&self, now: Timestamp, limit: usize) -> StoreResult<usize> {
        self.0.pass(self.0.inner().kept_requests_purge(now, limit)).await
    }

    async fn unpaid_jobs_purge(&self, before: Timestamp, limit: usize) -> StoreResult<usize> {
        self.0.pass(self.0.inner().unpaid_jobs_purge(before, limit)).await
    }

    async fn unpaid_sessions_purge(&self, before: Timestamp, limit: usize) -> StoreResult<usize> {
        self.0.pass(self.0.inner().unpaid_sessions_purge(before, limit)).await
    }

    async fn unpaid_bootstraps_purge(&self, before: Timestamp, limit: usize) -> StoreResult<usize> {
        self.0.pass(self.0.inner().unpaid_bootstraps_purge(before, limit)).await
    }

    async fn job_changes_purge(&self, before: Timestamp, limit: usize) -> StoreResult<usize> {
        self.0.pass(self.0.inner().job_changes_purge(before, limit)).await
    }

    async fn identities_purge(
        &self,
        after: Option<NostrPubkey>,
        before: Timestamp,
        limit: usize,
    ) -> StoreResult<IdentitiesPurged> {
        self.0.pass(self.0.inner().identities_purge(after, before, limit)).await
    }
}

#[async_trait]
impl<L: StoreLayer> TextStore for Layered<L> {
    async fn texts_found(&self, owner: &TextOwner, until: Timestamp) -> StoreResult<TextsFound> {
        self.0.pass(self.0.inner().texts_found(owner, until)).await
    }

    async fn texts_delete(
        &self,
        owner: &TextOwner,
        until: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> StoreResult<TextsFound> {
        self.0.pass(self.0.inner().texts_delete(owner, until, now, limit)).await
    }

    async fn deleted_texts_overwrite(&self) -> StoreResult<bool> {
        self.0.pass(self.0.inner().deleted_texts_overwrite()).await
    }

    async fn text_deletion_record(&self, deletion: &TextDeletion) -> StoreResult<()> {
        self.0.pass(self.0.inner().text_deletion_record(deletion)).await
    }

    async fn text_deletion(&self, owner: &TextOwner) -> StoreResult<Option<TextDeletion>> {
        self.0.pass(self.0.inner().text_deletion(owner)).await
    }

    async fn text_deletions_unfinished(&self, limit: usize) -> StoreResult<Vec<TextDeletion>> {
        self.0.pass(self.0.inner().text_deletions_unfinished(limit)).await
    }
}

#[async_trait]
impl<L: StoreLayer> JobRepository for Layered<L> {
    type Error = StoreError;

    async fn job(&self, id: JobId) -> StoreResult<Option<Job>> {
        self.0.pass(self.0.inner().job(id)).await
    }

    async fn job_changes(&self, id: JobId, revision: u32) -> StoreResult<Vec<JobChange>> {
        let changes = self.0.pass(self.0.inner().job_changes(id, revision)).await;
        self.0.after_job_changes().await;
        changes
    }

    async fn jobs_claim(&self, claim: &JobClaim) -> StoreResult<Vec<Job>> {
        let claimed = self.0.pass(self.0.inner().jobs_claim(claim)).await?;
        self.0.after_jobs_claim(&claimed).await;
        Ok(claimed)
    }

    async fn job_lease_renew(&self, id: JobId, lease: &Lease, until: Timestamp) -> StoreResult<bool> {
        self.0.pass(self.0.inner().job_lease_renew(id, lease, until)).await
    }

    async fn job_lease_hand_back(
        &self,
        id: JobId,
        lease: &Lease,
        rest_until: Timestamp,
    ) -> StoreResult<bool> {
        self.0.pass(self.0.inner().job_lease_hand_back(id, lease, rest_until)).await
    }

    async fn jobs_of_identity(
        &self,
        identity: NostrPubkey,
        before: Option<JobId>,
        limit: usize,
    ) -> StoreResult<Vec<JobSummary>> {
        self.0.pass(self.0.inner().jobs_of_identity(identity, before, limit)).await
    }

    async fn jobs_never_invoiced(&self, before: Timestamp, limit: usize) -> StoreResult<Vec<JobId>> {
        self.0.pass(self.0.inner().jobs_never_invoiced(before, limit)).await
    }

    async fn jobs_on_hold(&self) -> StoreResult<u64> {
        self.0.pass(self.0.inner().jobs_on_hold()).await
    }
}

#[async_trait]
impl<L: StoreLayer> InvoiceRepository for Layered<L> {
    type Error = StoreError;

    async fn invoice(&self, payment_hash: PaymentHash) -> StoreResult<Option<Invoice>> {
        self.0.pass(self.0.inner().invoice(payment_hash)).await
    }

    async fn invoices_pending(&self, after: Option<PaymentHash>, limit: usize) -> StoreResult<Vec<Invoice>> {
        self.0.pass(self.0.inner().invoices_pending(after, limit)).await
    }

    async fn invoices_expired(
        &self,
        window: ExpiryWindow,
        after: Option<(Timestamp, PaymentHash)>,
        limit: usize,
    ) -> StoreResult<Vec<Invoice>> {
        self.0.pass(self.0.inner().invoices_expired(window, after, limit)).await
    }

    async fn invoices_open_count(&self, now: Timestamp) -> StoreResult<u64> {
        self.0.pass(self.0.inner().invoices_open_count(now)).await
    }
}

#[async_trait]
impl<L: StoreLayer> LedgerRepository for Layered<L> {
    type Error = StoreError;

    async fn account(&self, id: AccountId) -> StoreResult<Option<Account>> {
        self.0.pass(self.0.inner().account(id)).await
    }

    async fn hold(&self, id: HoldId) -> StoreResult<Option<Hold>> {
        self.0.pass(self.0.inner().hold(id)).await
    }

    async fn holds_overdue(&self, now: Timestamp, limit: usize) -> StoreResult<Vec<Hold>> {
        self.0.pass(self.0.inner().holds_overdue(now, limit)).await
    }
}

#[async_trait]
impl<L: StoreLayer> FreeTierRepository for Layered<L> {
    type Error = StoreError;

    async fn identity(&self, pubkey: NostrPubkey) -> StoreResult<Option<Identity>> {
        self.0.pass(self.0.inner().identity(pubkey)).await
    }

    async fn reservation(&self, id: ReservationId) -> StoreResult<Option<Reservation>> {
        self.0.pass(self.0.inner().reservation(id)).await
    }

    async fn reservations_overdue(&self, now: Timestamp, limit: usize) -> StoreResult<Vec<Reservation>> {
        self.0.pass(self.0.inner().reservations_overdue(now, limit)).await
    }

    async fn pool_counters(&self) -> StoreResult<PoolCounters> {
        self.0.pass(self.0.inner().pool_counters()).await
    }

    async fn grant(&self, id: GrantId) -> StoreResult<Option<Grant>> {
        self.0.pass(self.0.inner().grant(id)).await
    }
}

#[async_trait]
impl<L: StoreLayer> SessionRepository for Layered<L> {
    type Error = StoreError;

    async fn session(&self, id: SessionId) -> StoreResult<Option<Session>> {
        self.0.pass(self.0.inner().session(id)).await
    }

    async fn session_request(&self, id: RequestId) -> StoreResult<Option<SessionRequest>> {
        self.0.pass(self.0.inner().session_request(id)).await
    }

    async fn session_requests(
        &self,
        session: SessionId,
        before: Option<RequestCursor>,
        limit: usize,
    ) -> StoreResult<Vec<SessionRequest>> {
        self.0.pass(self.0.inner().session_requests(session, before, limit)).await
    }

    async fn kept_request(&self, session: SessionId) -> StoreResult<Option<KeptRequest>> {
        self.0.pass(self.0.inner().kept_request(session)).await
    }

    async fn kept_requests_due(&self, now: Timestamp, limit: usize) -> StoreResult<Vec<SessionId>> {
        self.0.pass(self.0.inner().kept_requests_due(now, limit)).await
    }

    async fn kept_requests_total(&self) -> StoreResult<KeptTotals> {
        self.0.pass(self.0.inner().kept_requests_total()).await
    }

    async fn session_keys(&self, session: SessionId) -> StoreResult<Vec<SessionKey>> {
        self.0.pass(self.0.inner().session_keys(session)).await
    }

    async fn session_keys_revoked(&self, session: SessionId) -> StoreResult<Vec<KeyId>> {
        self.0.pass(self.0.inner().session_keys_revoked(session)).await
    }

    async fn sessions_never_invoiced(&self, before: Timestamp, limit: usize) -> StoreResult<Vec<SessionId>> {
        self.0.pass(self.0.inner().sessions_never_invoiced(before, limit)).await
    }

    async fn sessions_to_warn(&self, after: Option<SessionId>, limit: usize) -> StoreResult<Vec<Session>> {
        self.0.pass(self.0.inner().sessions_to_warn(after, limit)).await
    }

    async fn session_keys_to_warn(
        &self,
        after: Option<(SessionId, KeyId)>,
        limit: usize,
    ) -> StoreResult<Vec<SessionKey>> {
        self.0.pass(self.0.inner().session_keys_to_warn(after, limit)).await
    }

    async fn sessions_idle(
        &self,
        kind: SessionKindName,
        before: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<SessionId>> {
        self.0.pass(self.0.inner().sessions_idle(kind, before, limit)).await
    }
}

#[async_trait]
impl<L: StoreLayer> BootstrapRepository for Layered<L> {
    type Error = StoreError;

    async fn bootstrap(&self, id: BootstrapId) -> StoreResult<Option<Bootstrap>> {
        self.0.pass(self.0.inner().bootstrap(id)).await
    }

    async fn bootstraps_due(&self, now: Timestamp, limit: usize) -> StoreResult<Vec<BootstrapId>> {
        self.0.pass(self.0.inner().bootstraps_due(now, limit)).await
    }

    async fn bootstraps_never_invoiced(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<BootstrapId>> {
        self.0.pass(self.0.inner().bootstraps_never_invoiced(before, limit)).await
    }
}

#[async_trait]
impl<L: StoreLayer> ObligationRepository for Layered<L> {
    type Error = StoreError;

    async fn obligation(&self, account: AccountId) -> StoreResult<Option<Obligation>> {
        self.0.pass(self.0.inner().obligation(account)).await
    }

    async fn obligations_of(&self, accounts: &[AccountId]) -> StoreResult<Vec<Obligation>> {
        self.0.pass(self.0.inner().obligations_of(accounts)).await
    }

    async fn obligations_payable(&self, now: Timestamp, limit: usize) -> StoreResult<Vec<Obligation>> {
        self.0.pass(self.0.inner().obligations_payable(now, limit)).await
    }

    async fn obligations_due(&self, after: Option<AccountId>, limit: usize) -> StoreResult<Vec<Obligation>> {
        self.0.pass(self.0.inner().obligations_due(after, limit)).await
    }

    async fn payout(&self, payment_hash: PaymentHash) -> StoreResult<Option<Payout>> {
        self.0.pass(self.0.inner().payout(payment_hash)).await
    }

    async fn payouts_of(&self, account: AccountId) -> StoreResult<Vec<Payout>> {
        self.0.pass(self.0.inner().payouts_of(account)).await
    }

    async fn payouts_in_flight(&self, now: Timestamp, limit: usize) -> StoreResult<Vec<Payout>> {
        self.0.pass(self.0.inner().payouts_in_flight(now, limit)).await
    }
}

#[async_trait]
impl<L: StoreLayer> CreditRepository for Layered<L> {
    type Error = StoreError;

    async fn install(&self, id: InstallId) -> StoreResult<Option<Install>> {
        self.0.pass(self.0.inner().install(id)).await
    }

    async fn installs(&self, after: Option<InstallId>, limit: usize) -> StoreResult<Vec<Install>> {
        self.0.pass(self.0.inner().installs(after, limit)).await
    }

    async fn credit(&self, id: CreditId) -> StoreResult<Option<Credit>> {
        self.0.pass(self.0.inner().credit(id)).await
    }

    async fn credits_overdue(&self, now: Timestamp, limit: usize) -> StoreResult<Vec<Credit>> {
        self.0.pass(self.0.inner().credits_overdue(now, limit)).await
    }
}

#[async_trait]
impl<L: StoreLayer> LicenceStore for Layered<L> {
    async fn licence_revocation(&self, licence: LicenceId) -> StoreResult<Option<Revocation>> {
        self.0.pass(self.0.inner().licence_revocation(licence)).await
    }

    async fn licences_revoked(&self) -> StoreResult<Vec<Revocation>> {
        self.0.pass(self.0.inner().licences_revoked()).await
    }
}

#[async_trait]
impl<L: StoreLayer> ReconciliationStore for Layered<L> {
    async fn ledger_totals(&self) -> StoreResult<LedgerTotals> {
        self.0.pass(self.0.inner().ledger_totals()).await
    }

    async fn wallet_transfers(&self, since: Timestamp) -> StoreResult<Vec<Transfer>> {
        self.0.pass(self.0.inner().wallet_transfers(since)).await
    }
}

#[async_trait]
impl<L: StoreLayer> MeasurementStore for Layered<L> {
    async fn measurements(&self, now: Timestamp) -> StoreResult<Measurements> {
        self.0.pass(self.0.inner().measurements(now)).await
    }

    async fn transfer_sums(&self, after: u64, until: u64) -> StoreResult<Vec<TransferSum>> {
        self.0.pass(self.0.inner().transfer_sums(after, until)).await
    }
}

#[async_trait]
impl<L: StoreLayer> TransferStore for Layered<L> {
    async fn transfers_with_keys(&self, keys: &[TransferKey]) -> StoreResult<Vec<Transfer>> {
        self.0.pass(self.0.inner().transfers_with_keys(keys)).await
    }

    async fn transfers_made_in(
        &self,
        range: TimeRange,
        after: u64,
        limit: usize,
    ) -> StoreResult<Vec<NumberedTransfer>> {
        self.0.pass(self.0.inner().transfers_made_in(range, after, limit)).await
    }

    async fn transfer_sums_of(&self, range: TimeRange) -> StoreResult<Vec<TransferSum>> {
        self.0.pass(self.0.inner().transfer_sums_of(range)).await
    }
}

#[async_trait]
impl<L: StoreLayer> ServerStore for Layered<L> {
    async fn server_write(&self, server: &ServerRecord) -> StoreResult<()> {
        self.0.pass(self.0.inner().server_write(server)).await
    }

    async fn server_delete(&self, id: Uuid) -> StoreResult<()> {
        self.0.pass(self.0.inner().server_delete(id)).await
    }

    async fn servers(&self) -> StoreResult<Vec<ServerRecord>> {
        self.0.pass(self.0.inner().servers()).await
    }

    async fn servers_purge(&self, before: Timestamp) -> StoreResult<usize> {
        self.0.pass(self.0.inner().servers_purge(before)).await
    }
}
