//! The port to the tables of one database.

use super::table::{Row, Table};
use async_trait::async_trait;
use tithe_engine::store::StoreError;
use tokio::sync::mpsc;

/// The tables of a database, in one transaction that began when this was opened: of the source it is one snapshot, of the target it is
/// rolled back unless it is committed.
#[async_trait]
pub trait Tables: Send {
    /// Where the database is, for messages; no password is in it.
    fn at(&self) -> &str;

    /// All tables of the database.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn tables(&mut self) -> Result<Vec<Table>, StoreError>;

    /// Sends all rows of a table, in the order of the bytes of its key. It stops when nobody receives them.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn rows(&mut self, table: &Table, into: mpsc::Sender<Row>) -> Result<(), StoreError>;

    /// Adds rows to a table.
    ///
    /// # Errors
    /// [`StoreError`], also when a row exists already.
    async fn insert(&mut self, table: &Table, rows: &[Row]) -> Result<(), StoreError>;

    /// The last number that was given to a row of a table whose rows are numbered; `None` of any other table.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn last_number(&mut self, table: &Table) -> Result<Option<i64>, StoreError>;

    /// Makes the next number that is given to a row greater than `last`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn continue_after(&mut self, table: &Table, last: i64) -> Result<(), StoreError>;

    /// Ends the transaction that reads, and returns whether something has been written to the database since it began.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn end_and_compare(&mut self) -> Result<bool, StoreError>;

    /// Commits. What was inserted is on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn commit(&mut self) -> Result<(), StoreError>;
}
