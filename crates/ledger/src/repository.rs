//! The repository port for the ledger.

use crate::{Account, AccountId, Hold, HoldId};
use async_trait::async_trait;
use tithe_clock::Timestamp;

/// Reads the ledger. Only the engine's batches write it.
#[async_trait]
pub trait LedgerRepository: Send + Sync {
    /// The error of a failed read.
    type Error;

    /// The row of a guarded account, or `None` if the account never had a balance.
    async fn account(&self, id: AccountId) -> Result<Option<Account>, Self::Error>;

    /// The hold with this id, or `None`.
    async fn hold(&self, id: HoldId) -> Result<Option<Hold>, Self::Error>;

    /// Open holds whose lease ended at or before `now`, at most `limit`.
    async fn holds_overdue(&self, now: Timestamp, limit: usize) -> Result<Vec<Hold>, Self::Error>;
}
