//! The port to where the ledger is kept.

use crate::{Account, AccountId, Hold, HoldId};
use async_trait::async_trait;
use tithe_clock::Timestamp;

/// Reads the ledger. It is written in the engine's batches only.
#[async_trait]
pub trait LedgerRepository: Send + Sync {
    /// What reading can fail with.
    type Error;

    /// A guarded account's row, or `None` when nothing was ever put into it.
    async fn account(&self, id: AccountId) -> Result<Option<Account>, Self::Error>;

    /// The hold of this id, or `None`.
    async fn hold(&self, id: HoldId) -> Result<Option<Hold>, Self::Error>;

    /// Holds that still are held though their lease ran out at or before `now`, at most `limit`.
    async fn holds_overdue(&self, now: Timestamp, limit: usize) -> Result<Vec<Hold>, Self::Error>;
}
