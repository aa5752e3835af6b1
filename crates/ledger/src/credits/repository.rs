//! The repository port for install credits.

use super::{Credit, CreditId, Install, InstallId};
use async_trait::async_trait;
use tithe_clock::Timestamp;

/// Reads install credits. Only the engine's batches write them.
#[async_trait]
pub trait CreditRepository: Send + Sync {
    /// The error of a failed read.
    type Error;

    /// The install with this id, or `None` if it was never seen.
    async fn install(&self, id: InstallId) -> Result<Option<Install>, Self::Error>;

    /// Installs after `after`, in the order of their ids, at most `limit`.
    async fn installs(&self, after: Option<InstallId>, limit: usize) -> Result<Vec<Install>, Self::Error>;

    /// The credit with this id, or `None`.
    async fn credit(&self, id: CreditId) -> Result<Option<Credit>, Self::Error>;

    /// Reserved credits whose lease ended at or before `now`, at most `limit`.
    async fn credits_overdue(&self, now: Timestamp, limit: usize) -> Result<Vec<Credit>, Self::Error>;
}
