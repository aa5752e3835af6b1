//! The port to the database.

use crate::books::{Batch, Committed};
use crate::records::{IdempotencyId, IdempotencyRecord, ServerRecord, TextDeletion, TextOwner, TextsFound};
use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::collections::BTreeMap;
use tithe_bootstrap::{Bootstrap, BootstrapRepository};
use tithe_clock::Timestamp;
use tithe_free_tier::{FreeTierRepository, Grant, Identity, PoolCounters, Reservation};
use tithe_jobs::{Job, JobChange, JobId, JobRepository};
use tithe_ledger::credits::{Credit, CreditRepository, Install};
use tithe_ledger::{Account, AccountKind, Hold, LedgerRepository, Transfer, TransferKey, TransferKind};
use tithe_licences::{LicenceId, Revocation};
use tithe_lightning::{Invoice, InvoiceRepository, Purpose};
use tithe_money::Msats;
use tithe_payouts::{Obligation, ObligationRepository, Payout};
use tithe_sessions::{KeptRequest, Session, SessionRepository, SessionRequest};
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// What a store can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be reached or is too busy. Nothing has changed, and a later retry is safe.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database went away during the commit and did not come back in time: the change was made, or it was not. Read
    /// which.
    #[error("the database went away during the commit")]
    OutcomeUnknown(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row holds something that the rules do not allow.
    #[error("unreadable row: {subject}: {problem}")]
    Corrupt {
        /// The table and the key of the row.
        subject: String,
        /// What is wrong with the row.
        problem: String,
    },
    /// The database refused a statement: a bug, or a constraint that stopped one.
    #[error("the database failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<std::convert::Infallible> for StoreError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// One row, for the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditRow {
    /// A transfer.
    Transfer(Transfer),
    /// A guarded account.
    Account(Account),
    /// A hold.
    Hold(Hold),
    /// An invoice.
    Invoice(Invoice),
    /// A job.
    Job(Box<Job>),
    /// A session.
    Session(Box<Session>),
    /// A request that is done before its payment is taken.
    KeptRequest(Box<KeptRequest>),
    /// A request of a session.
    SessionRequest(Box<SessionRequest>),
    /// The purchase of a node.
    Bootstrap(Box<Bootstrap>),
    /// What is owed to a customer.
    Obligation(Box<Obligation>),
    /// A payment to a customer.
    Payout(Box<Payout>),
    /// An install.
    Install(Box<Install>),
    /// A reservation of an install's request.
    Credit(Box<Credit>),
    /// An identity.
    Identity(Box<Identity>),
    /// A reservation of the pool.
    Reservation(Reservation),
    /// The pool's counters.
    PoolCounters(PoolCounters),
    /// A grant. All identities, all reservations and the counters come before the first grant.
    Grant(Grant),
    /// A row that holds something that the rules do not allow.
    Unreadable {
        /// The table and the key of the row.
        subject: String,
        /// What is wrong with the row.
        problem: String,
    },
}

/// All rows that the audit checks, as they were at one moment.
pub type AuditRows = BoxStream<'static, Result<AuditRow, StoreError>>;

/// Something that happened on another server with the same database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEvent {
    /// Jobs have taken steps.
    Steps(Vec<JobChange>),
    /// A server that stops has handed work back: whoever has room claims it now.
    HandedBack,
    /// Notifications may have been lost: whoever waits for a step must read the store.
    Resync,
    /// Another server follows a job, and needs the text of its work.
    TextWanted {
        /// The job.
        job: JobId,
        /// How many bytes of the text it has.
        from: usize,
    },
    /// Another server publishes text of work that runs there.
    Text(TextPart),
}

/// A part of the text of running work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPart {
    /// The job.
    pub job: JobId,
    /// The attempt at the work.
    pub attempt: u32,
    /// The position of the part in the attempt's text, in bytes.
    pub offset: usize,
    /// The part, at most [`TextPart::MAX_BYTES`] long.
    pub text: String,
}

impl TextPart {
    /// What the smallest channel carries (a `NOTIFY` of PostgreSQL: 8000 bytes), less what surrounds the text.
    pub const MAX_BYTES: usize = 7_800;
}

/// Writes batches, and reads what only the engine needs.
#[async_trait]
pub trait BatchStore: Send + Sync {
    /// In one transaction: locks and loads [`Batch::keys`] in their order, calls [`Batch::decide`], writes the changes, and
    /// commits. The batch is durable when this returns. On an error other than [`StoreError::OutcomeUnknown`] nothing has
    /// changed.
    ///
    /// A row in [`crate::books::Written::made`] must not overwrite a row that another batch has made meanwhile. Dropping the
    /// future does not change the outcome.
    async fn batch_commit(&self, batch: &Batch) -> Result<Committed, StoreError>;

    /// The record of an idempotency key, or `None`.
    async fn idempotency(&self, id: &IdempotencyId) -> Result<Option<IdempotencyRecord>, StoreError>;

    /// Streams every row that the audit checks, from one consistent view.
    async fn audit_rows(&self) -> Result<AuditRows, StoreError>;

    /// Whether the database answers and its tables are as this program expects.
    async fn ready(&self) -> Result<(), StoreError>;

    /// Whether the database takes writes: writes a row of no meaning, and commits. What keeps a batch from being committed (a full
    /// disk, a read-only database, missing rights, a standby that must confirm and does not) makes this fail.
    async fn writable(&self) -> Result<(), StoreError>;

    /// What other servers on this database do, from now on. A step may come twice, late, or (after a lost connection) only as
    /// [`PeerEvent::Resync`]. The stream never ends. In a store that only one server uses, nothing comes.
    fn peer_events(&self) -> BoxStream<'static, PeerEvent> {
        futures_util::stream::pending().boxed()
    }

    /// Publishes an event to the other servers. It is not stored: a server that is not listening misses it. Steps need not
    /// be published; [`BatchStore::batch_commit`] does that.
    async fn publish(&self, event: &PeerEvent) -> Result<(), StoreError> {
        let _no_other_server = event;
        Ok(())
    }
}

/// Deletes what is no longer needed, in small steps, so that no step keeps others waiting: each deletes at most `limit` rows of a
/// kind (with what belongs to them) and returns how many it has deleted. Several servers may do it at once. Nothing that money has
/// moved for is ever deleted.
#[async_trait]
pub trait RetentionStore: Send + Sync {
    /// Idempotency keys that expired at or before `now`.
    async fn idempotency_purge(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// Consumed authentication nonces that expired at or before `now`.
    async fn auth_nonces_purge(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// Origins of installs whose window is over at `now`.
    async fn install_origins_purge(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// Credits that took nothing and ended before `before`: those that were released, and those that expired and whose work was not
    /// done late. Work that ends late once its credit is gone finds none.
    async fn credits_purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// The texts of expired jobs: the job stays, its request becomes empty.
    async fn expired_texts_purge(&self, limit: usize) -> Result<usize, StoreError>;

    /// The texts of jobs, and of requests of sessions, that ended before `before`, at most `limit` of each, the oldest first: the rows
    /// stay, with `now` as the time of their texts' deletion ([`Job::without_texts`], [`SessionRequest::without_text`]).
    async fn old_texts_purge(
        &self,
        before: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError>;

    /// Kept requests that have ended, or whose offer has expired at `now` unpaid. A payment that is held for one later is given back.
    async fn kept_requests_purge(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// Jobs that expired before `before` and that nothing was ever paid for, with their invoices and their steps.
    async fn unpaid_jobs_purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// Sessions that expired before `before` and that nothing was ever paid for, with their invoices.
    async fn unpaid_sessions_purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// Bootstraps that expired before `before` and that nothing was ever paid for, with their invoices.
    async fn unpaid_bootstraps_purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// Steps of jobs that were taken before `before`, oldest first. Followers of such a job see it as it is now.
    async fn job_changes_purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// Looks at `limit` identities after `after`, in the order of their keys, and deletes those that were last seen before `before`,
    /// have no job, no session and no bootstrap, and have never earned or taken anything.
    async fn identities_purge(
        &self,
        after: Option<NostrPubkey>,
        before: Timestamp,
        limit: usize,
    ) -> Result<IdentitiesPurged, StoreError>;
}

/// What [`RetentionStore::identities_purge`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentitiesPurged {
    /// How many identities were deleted.
    pub deleted: usize,
    /// The last identity that was looked at; `None` when there are no more.
    pub next: Option<NostrPubkey>,
}

/// Deletes the texts of one customer, on request. A text is in a job, in a request of a session, in a request that is kept while its payment
/// is held or awaited, or in a response that is stored for an idempotency key; there is no other copy.
#[async_trait]
pub trait TextStore: Send + Sync {
    /// How many texts there are of an owner, in what was made at `until` or before.
    async fn texts_found(&self, owner: &TextOwner, until: Timestamp) -> Result<TextsFound, StoreError>;

    /// Deletes the texts of an owner in what was made at `until` or before and has ended, at most `limit` of each kind. Returns how many
    /// were deleted. A response becomes [`crate::records::StoredResponse::deleted`]. Rows that somebody else is changing may be left.
    async fn texts_delete(
        &self,
        owner: &TextOwner,
        until: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<TextsFound, StoreError>;

    /// Overwrites what was deleted, as far as that does not stop others. Returns whether nothing is left that is not overwritten.
    async fn deleted_texts_overwrite(&self) -> Result<bool, StoreError>;

    /// Records a request, and adds what was deleted to what its owner's earlier requests have deleted. An earlier request does not end a
    /// later one.
    async fn text_deletion_record(&self, deletion: &TextDeletion) -> Result<(), StoreError>;

    /// The last request for an owner; `None` if there was none.
    async fn text_deletion(&self, owner: &TextOwner) -> Result<Option<TextDeletion>, StoreError>;

    /// Requests that are not finished, oldest first, at most `limit`.
    async fn text_deletions_unfinished(&self, limit: usize) -> Result<Vec<TextDeletion>, StoreError>;
}

/// What the ledger holds altogether, as of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LedgerTotals {
    /// What the wallet is to hold, in msats: what it received less what it sent, with fees.
    pub wallet: i128,
    /// What is in the accounts of jobs.
    pub jobs: Msats,
    /// What is in the accounts of sessions.
    pub sessions: Msats,
    /// What is in the accounts of bootstraps.
    pub bootstraps: Msats,
    /// What is in the pool.
    pub pool: Msats,
    /// What is due to customers, with what is in flight.
    pub refunds: Msats,
    /// What is in flight to customers, with the most that the fees may be.
    pub in_flight: Msats,
}

/// Reads what is compared with the wallet.
#[async_trait]
pub trait ReconciliationStore: Send + Sync {
    /// What the ledger holds altogether.
    async fn ledger_totals(&self) -> Result<LedgerTotals, StoreError>;

    /// The transfers that debit or credit the wallet and were made at `since` or later, in the order in which they were made.
    async fn wallet_transfers(&self, since: Timestamp) -> Result<Vec<Transfer>, StoreError>;
}

/// Something in progress, of which there are gauges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measured {
    /// Jobs that are being evaluated.
    JobsEvaluating,
    /// Jobs that were accepted and whose work invoice is being made.
    JobsAccepted,
    /// Jobs whose work is running.
    JobsExecuting,
    /// Holds in customers' accounts. The amount is what they hold.
    Holds,
    /// Reservations of the pool that have a lease. The amount is what they hold.
    Reservations,
    /// Credits of installs that are held.
    Credits,
    /// Invoices of this purpose that can be paid.
    Invoices(Purpose),
    /// Payouts in flight, since their intent. The amount includes the fee limit.
    PayoutsInFlight,
    /// Obligations that can be paid, since the time of their next payout. The amount is what is due.
    RefundsPayable,
    /// Those of them of which a payout has failed. Only counted.
    RefundsFailing,
    /// Nodes that are being made, since their payment.
    BootstrapsProvisioning,
    /// Nodes of failed bootstraps that may still have to be destroyed, since they were begun.
    BootstrapsDestroying,
}

/// How much there is of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// How many there are.
    pub count: u64,
    /// How many of them have a lease that runs.
    pub leased: u64,
    /// How many of them have a lease that is over.
    pub expired: u64,
    /// What they amount to, in msats.
    pub msats: u128,
    /// The time of the oldest.
    pub oldest: Option<Timestamp>,
}

impl Tally {
    /// Adds what there is of the same kind.
    pub fn merge(&mut self, more: &Self) {
        self.count = self.count.saturating_add(more.count);
        self.leased = self.leased.saturating_add(more.leased);
        self.expired = self.expired.saturating_add(more.expired);
        self.msats = self.msats.saturating_add(more.msats);
        self.oldest = [self.oldest, more.oldest].into_iter().flatten().min();
    }
}

/// What is in progress, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measurements {
    /// What there is. What there is none of may be missing.
    pub tallies: BTreeMap<Measured, Tally>,
    /// What is in the pool.
    pub pool_balance: Msats,
    /// What of that is set aside.
    pub pool_held: Msats,
    /// The number of the last transfer; 0 if there is none.
    pub last_transfer: u64,
}

/// What transfers of a kind between two kinds of accounts have moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransferSum {
    /// The kind of the transfers.
    pub kind: TransferKind,
    /// The kind of the accounts that they debit; `None` for those of another service.
    pub debit: Option<AccountKind>,
    /// The kind of the accounts that they credit; `None` for those of another service.
    pub credit: Option<AccountKind>,
    /// The number of the transfers.
    pub transfers: u64,
    /// What they have moved, in msats.
    pub msats: u128,
}

impl TransferSum {
    /// The kind of an account, if it is of Tithe's own.
    #[must_use]
    pub const fn own(kind: AccountKind) -> Option<AccountKind> {
        match kind {
            AccountKind::Custom(_) | AccountKind::Owned(_) => None,
            own => Some(own),
        }
    }
}

/// Reads what is measured. It must be cheap: it is read every few seconds, while the server sells. Neither method waits for a writer
/// or keeps one waiting.
#[async_trait]
pub trait MeasurementStore: Send + Sync {
    /// What is in progress at `now`. Reads only what an index finds, and nothing that grows with history.
    async fn measurements(&self, now: Timestamp) -> Result<Measurements, StoreError>;

    /// What the transfers moved whose numbers are larger than `after`, and at most `until`, in any order. Transfers have increasing
    /// numbers, but the ones of several servers may be committed in another order.
    async fn transfer_sums(&self, after: u64, until: u64) -> Result<Vec<TransferSum>, StoreError>;
}

/// A period of time: from `from`, and before `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// The first moment of it.
    pub from: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
}

/// A transfer with its number. Transfers have increasing numbers in the order in which they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedTransfer {
    /// The number.
    pub number: u64,
    /// The transfer.
    pub transfer: Transfer,
}

/// Reads transfers: by their keys for receipts, and by their time for statements. There is no index by time, because every charge would
/// have to write it: reading a period reads through the whole ledger, once.
#[async_trait]
pub trait TransferStore: Send + Sync {
    /// The transfers with these keys, in any order. A key that no transfer has is skipped.
    async fn transfers_with_keys(&self, keys: &[TransferKey]) -> Result<Vec<Transfer>, StoreError>;

    /// The transfers of a period whose numbers are larger than `after`, in the order of their numbers, at most `limit`.
    async fn transfers_made_in(
        &self,
        range: TimeRange,
        after: u64,
        limit: usize,
    ) -> Result<Vec<NumberedTransfer>, StoreError>;

    /// What the transfers of a period have moved, in any order.
    async fn transfer_sums_of(&self, range: TimeRange) -> Result<Vec<TransferSum>, StoreError>;
}

/// Reads the licences that were revoked. Only the engine's batches revoke them.
#[async_trait]
pub trait LicenceStore: Send + Sync {
    /// The revocation of a licence; `None` if it was never revoked.
    async fn licence_revocation(&self, licence: LicenceId) -> Result<Option<Revocation>, StoreError>;

    /// All revocations, newest first; those of the same moment in the order of their licences' ids.
    async fn licences_revoked(&self) -> Result<Vec<Revocation>, StoreError>;
}

/// Keeps the servers that run on the database, so that each can compare itself with the others. Losing such a record does no harm, so
/// these writes need not wait for a standby.
#[async_trait]
pub trait ServerStore: Send + Sync {
    /// Writes the record of a server, in place of the one with the same id.
    async fn server_write(&self, server: &ServerRecord) -> Result<(), StoreError>;

    /// Deletes the record of a server, if there is one.
    async fn server_delete(&self, id: Uuid) -> Result<(), StoreError>;

    /// All records, in the order in which the servers started; those of the same moment in the order of their ids.
    async fn servers(&self) -> Result<Vec<ServerRecord>, StoreError>;

    /// Deletes the records that were last written before `before`; returns how many.
    async fn servers_purge(&self, before: Timestamp) -> Result<usize, StoreError>;
}

/// Everything that the engine needs of a database.
pub trait Store:
    BatchStore
    + RetentionStore
    + TextStore
    + JobRepository<Error = StoreError>
    + InvoiceRepository<Error = StoreError>
    + LedgerRepository<Error = StoreError>
    + FreeTierRepository<Error = StoreError>
    + SessionRepository<Error = StoreError>
    + BootstrapRepository<Error = StoreError>
    + ObligationRepository<Error = StoreError>
    + CreditRepository<Error = StoreError>
    + LicenceStore
    + ReconciliationStore
    + MeasurementStore
    + TransferStore
    + ServerStore
{
}

impl<T> Store for T where
    T: BatchStore
        + RetentionStore
        + TextStore
        + JobRepository<Error = StoreError>
        + InvoiceRepository<Error = StoreError>
        + LedgerRepository<Error = StoreError>
        + FreeTierRepository<Error = StoreError>
        + SessionRepository<Error = StoreError>
        + BootstrapRepository<Error = StoreError>
        + ObligationRepository<Error = StoreError>
        + CreditRepository<Error = StoreError>
        + LicenceStore
        + ReconciliationStore
        + MeasurementStore
        + TransferStore
        + ServerStore
        + ?Sized
{
}
