//! The port to the store.

use crate::commands::{Batch, Outcome};
use crate::idempotency::{IdempotencyId, IdempotencyRecord};
use crate::proof::UsedProof;
use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::collections::HashSet;
use tithe_clock::Timestamp;
use tithe_free_tier::{FreeTierRepository, Grant, PoolTally, Reservation, Standing};
use tithe_jobs::{Job, JobChange, JobId, JobRepository};
use tithe_ledger::{Account, Hold, LedgerRepository, Transfer, TransferKey};
use tithe_lightning::{Invoice, InvoiceRepository};

/// What a store can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be reached or is too busy: nothing has changed, and asking again later is safe.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database went away while it committed and did not come back in time: the change was made, or it was not. Read
    /// which.
    #[error("the database went away while it committed")]
    OutcomeUnknown(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row holds something that the rules do not allow.
    #[error("{subject} cannot be read: {problem}")]
    Corrupt {
        /// Which row.
        subject: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The database refused the statement: a bug, or a constraint that stopped one.
    #[error("the database failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The rows that a batch asked for. What does not exist is not there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loaded {
    /// Holds.
    pub holds: Vec<Hold>,
    /// Jobs.
    pub jobs: Vec<Job>,
    /// Invoices.
    pub invoices: Vec<Invoice>,
    /// Idempotency keys.
    pub idempotency: Vec<IdempotencyRecord>,
    /// The transfers, of those asked for, that exist.
    pub transfers: HashSet<TransferKey>,
    /// Guarded accounts.
    pub accounts: Vec<Account>,
    /// Identities and their day.
    pub identities: Vec<Standing>,
    /// Proofs that were used.
    pub proofs: Vec<UsedProof>,
    /// Reservations.
    pub reservations: Vec<Reservation>,
    /// What the pool's limits count.
    pub tally: Option<PoolTally>,
}

/// The rows that a batch has changed or made. Those that are called new are new; the others replace what has the same key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Holds.
    pub holds: Vec<Hold>,
    /// Jobs.
    pub jobs: Vec<Job>,
    /// Invoices.
    pub invoices: Vec<Invoice>,
    /// Idempotency keys.
    pub idempotency: Vec<IdempotencyRecord>,
    /// Guarded accounts.
    pub accounts: Vec<Account>,
    /// Identities and their day.
    pub identities: Vec<Standing>,
    /// Reservations.
    pub reservations: Vec<Reservation>,
    /// What the pool's limits count.
    pub tally: Option<PoolTally>,
    /// Newly used proofs. One that was used meanwhile stops the batch.
    pub proofs: Vec<UsedProof>,
    /// New grants.
    pub grants: Vec<Grant>,
    /// New transfers.
    pub transfers: Vec<Transfer>,
    /// New steps of jobs.
    pub job_changes: Vec<JobChange>,
}

/// What a batch comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// One for each command, in their order.
    pub outcomes: Vec<Outcome>,
    /// What to write.
    pub changes: Changes,
}

/// What a batch came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// One for each command, in their order.
    pub outcomes: Vec<Outcome>,
    /// The steps that jobs have taken.
    pub job_changes: Vec<JobChange>,
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
    /// An identity and its day.
    Identity(Box<Standing>),
    /// A reservation.
    Reservation(Reservation),
    /// What the pool's limits count.
    Tally(PoolTally),
    /// A grant. All identities, all reservations and the tally come before the first one.
    Grant(Grant),
    /// A row that holds something that the rules do not allow.
    Unreadable {
        /// Which row.
        subject: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// All rows that the audit looks at, as they were at one moment.
pub type AuditRows = BoxStream<'static, Result<AuditRow, StoreError>>;

/// What is heard of other servers on the same database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Elsewhere {
    /// Jobs have taken steps.
    Steps(Vec<JobChange>),
    /// Something may have happened while nobody listened: whoever waits for a step must look.
    Missed,
    /// Somebody follows this job there, and has the text that far.
    TextWanted {
        /// Which job.
        job: JobId,
        /// How many bytes of the text they have.
        from: usize,
    },
    /// Text of work that runs there.
    Text(TextPart),
}

/// A part of the text of work under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPart {
    /// Which job.
    pub job: JobId,
    /// Which attempt at the work.
    pub attempt: u32,
    /// How many bytes of that attempt's text come before it.
    pub offset: usize,
    /// The part, at most [`TextPart::MAX_BYTES`].
    pub text: String,
}

impl TextPart {
    /// What the smallest channel carries (a `NOTIFY` of PostgreSQL: 8000 bytes), less what is around it.
    pub const MAX_BYTES: usize = 7_800;
}

/// Writes batches.
#[async_trait]
pub trait BatchStore: Send + Sync {
    /// In one transaction: locks and loads [`Batch::keys`] in their order, asks [`Batch::decide`], writes the changes,
    /// commits. Durable when it returns. On an error other than [`StoreError::OutcomeUnknown`] nothing has changed.
    ///
    /// It decides nothing itself. Dropping the future changes nothing about the outcome.
    async fn batch_commit(&self, batch: &Batch) -> Result<Committed, StoreError>;

    /// What is kept of an idempotency key, or `None`.
    async fn idempotency(&self, id: &IdempotencyId) -> Result<Option<IdempotencyRecord>, StoreError>;

    /// Forgets idempotency keys that expired at or before `now`; says how many.
    async fn idempotency_purge(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Forgets proofs that were used and have expired at or before `now`; says how many.
    async fn proofs_purge(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Streams every row that the audit looks at, from one consistent view.
    async fn audit_rows(&self) -> Result<AuditRows, StoreError>;

    /// Whether the database answers and its tables are as this program expects.
    async fn ready(&self) -> Result<(), StoreError>;

    /// What other servers on this database do, from now on. It may tell a step twice, late, or (after a lost connection)
    /// only that something was missed; it never ends. A store that one server uses alone hears nothing.
    fn elsewhere(&self) -> BoxStream<'static, Elsewhere> {
        futures_util::stream::pending().boxed()
    }

    /// Tells other servers that text is wanted, or some text. Not kept: who does not listen at that moment misses it. Steps
    /// need not be told; [`BatchStore::batch_commit`] does.
    async fn tell(&self, news: &Elsewhere) -> Result<(), StoreError> {
        let _nobody_is_there = news;
        Ok(())
    }
}

/// Everything that the engine needs of a database.
pub trait Store:
    BatchStore
    + JobRepository<Error = StoreError>
    + InvoiceRepository<Error = StoreError>
    + LedgerRepository<Error = StoreError>
    + FreeTierRepository<Error = StoreError>
{
}

impl<T> Store for T where
    T: BatchStore
        + JobRepository<Error = StoreError>
        + InvoiceRepository<Error = StoreError>
        + LedgerRepository<Error = StoreError>
        + FreeTierRepository<Error = StoreError>
        + ?Sized
{
}
