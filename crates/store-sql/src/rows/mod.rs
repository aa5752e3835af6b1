//! Rows, and what they mean. Their columns are explained in `migrations/`.

#![expect(missing_docs, reason = "a row's fields are its table's columns")]

mod bootstrap;
mod credit;
mod free_tier;
mod idempotency;
mod identity;
mod invoice;
mod job;
mod kept_request;
mod ledger;
mod licence;
mod outbox;
mod payout;
mod server;
mod session;
mod usage_buckets;

pub use bootstrap::BootstrapRow;
pub use credit::{CreditRow, InstallOriginRow, InstallRow};
pub use free_tier::{GrantRow, POOL_COUNTERS, PoolCountersRow, ReservationRow};
pub use idempotency::IdempotencyRow;
pub use identity::{AuthNonceRow, IdentityRow, auth_nonce_column};
pub use invoice::InvoiceRow;
pub use job::{JobRow, JobSummaryRow};
pub use kept_request::{KeptRequestRow, KeptTotalsRow};
pub use ledger::{AccountRow, HoldRow, NewTransferRow, TransferRow};
pub use licence::RevocationRow;
pub use outbox::{JOB_TOPIC, NewOutboxRow, OutboxRow};
pub use payout::{ObligationRow, PayoutRow};
pub use server::ServerRow;
pub use session::{SessionKeyRow, SessionRequestRow, SessionRow};

use std::fmt::Display;
use tithe_clock::Timestamp;
use tithe_engine::log::chain;
use tithe_engine::store::StoreError;
use tithe_money::Msats;
use tithe_trust::NostrPubkey;
use tracing::error;

/// The rows that can be read. An unreadable one must not keep the others from being worked on: it is logged, and
/// `tithe audit` names it.
#[must_use]
pub fn readable<Row, T>(rows: Vec<Row>) -> Vec<T>
where
    T: TryFrom<Row, Error = StoreError>,
{
    let read =
        |row| T::try_from(row).inspect_err(|cause| error!(error = chain(cause), "unreadable row skipped"));
    rows.into_iter().filter_map(|row| read(row).ok()).collect()
}

/// A limit, as a parameter of a statement.
#[must_use]
pub fn limit_column(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Reads the columns of a row. Its errors name the row.
pub struct Reader {
    table: &'static str,
    key: String,
}

impl Reader {
    #[must_use]
    pub fn new(table: &'static str, key: &str) -> Self {
        Self { table, key: key.to_owned() }
    }

    pub fn corrupt(&self, problem: impl Into<String>) -> StoreError {
        StoreError::Corrupt { subject: format!("{} {}", self.table, self.key), problem: problem.into() }
    }

    /// The value of a column that must be readable.
    pub fn column<T, E: Display>(&self, column: &str, value: Result<T, E>) -> Result<T, StoreError> {
        value.map_err(|cause| self.corrupt(format!("{column}: {cause}")))
    }

    /// The value of a column that must not be null in this state.
    pub fn present<T>(&self, column: &str, value: Option<T>) -> Result<T, StoreError> {
        value.ok_or_else(|| self.corrupt(format!("{column} is missing")))
    }

    pub fn msats(&self, column: &str, value: i64) -> Result<Msats, StoreError> {
        let amount = Msats::from_i64(value);
        amount.map_err(|cause| self.corrupt(format!("{column} is {value}: {cause}")))
    }

    pub fn time(&self, column: &str, value: i64) -> Result<Timestamp, StoreError> {
        self.column(column, Timestamp::from_unix_micros(value))
    }

    pub fn pubkey(&self, column: &str, value: &str) -> Result<NostrPubkey, StoreError> {
        self.column(column, NostrPubkey::restore(value))
    }

    pub fn count(&self, column: &str, value: i64) -> Result<u64, StoreError> {
        self.column(column, u64::try_from(value))
    }
}

/// A count, as a column holds it. A count that does not fit is larger than any backend can report.
#[must_use]
pub fn count_column(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A value, as a column of JSON holds it.
fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|cause| StoreError::Failed(Box::new(cause)))
}
