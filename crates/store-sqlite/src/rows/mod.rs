//! Rows, and what they mean.

mod idempotency;
mod invoice;
mod job;
mod ledger;
mod outbox;

pub(crate) use idempotency::IdempotencyRow;
pub(crate) use invoice::InvoiceRow;
pub(crate) use job::JobRow;
pub(crate) use ledger::{AccountRow, HoldRow, NewTransferRow, TransferRow};
pub(crate) use outbox::{JOB_TOPIC, NewOutboxRow, OutboxRow};

use std::fmt::Display;
use tithe_clock::Timestamp;
use tithe_engine::store::StoreError;
use tithe_money::Msats;

/// Reads a row's columns and says which row it was that could not be read.
pub(crate) struct Reader {
    table: &'static str,
    key: String,
}

impl Reader {
    pub(crate) fn new(table: &'static str, key: &str) -> Self {
        Self { table, key: key.to_owned() }
    }

    pub(crate) fn corrupt(&self, problem: impl Into<String>) -> StoreError {
        StoreError::Corrupt { subject: format!("{} {}", self.table, self.key), problem: problem.into() }
    }

    /// The value of a column that must be readable.
    pub(crate) fn column<T, E: Display>(&self, column: &str, value: Result<T, E>) -> Result<T, StoreError> {
        value.map_err(|cause| self.corrupt(format!("{column}: {cause}")))
    }

    /// The value of a column that must be there in this state.
    pub(crate) fn present<T>(&self, column: &str, value: Option<T>) -> Result<T, StoreError> {
        value.ok_or_else(|| self.corrupt(format!("{column} is missing")))
    }

    pub(crate) fn msats(&self, column: &str, value: i64) -> Result<Msats, StoreError> {
        let amount = Msats::from_i64(value);
        amount.map_err(|cause| self.corrupt(format!("{column} is {value}: {cause}")))
    }

    pub(crate) fn time(&self, column: &str, value: i64) -> Result<Timestamp, StoreError> {
        self.column(column, Timestamp::from_unix_micros(value))
    }

    pub(crate) fn count(&self, column: &str, value: i64) -> Result<u64, StoreError> {
        self.column(column, u64::try_from(value))
    }
}

/// A count as a column holds it. What does not fit is more than any backend can count.
pub(crate) fn count_column(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
