//! The repository port for bootstraps.

use crate::{Bootstrap, BootstrapId};
use async_trait::async_trait;
use tithe_clock::Timestamp;

/// Reads bootstraps. Changes are written by the engine's batches, together with the money they move.
#[async_trait]
pub trait BootstrapRepository: Send + Sync {
    /// The error of a failed read.
    type Error;

    /// The bootstrap with this id, or `None`.
    async fn bootstrap(&self, id: BootstrapId) -> Result<Option<Bootstrap>, Self::Error>;

    /// Bootstraps with something to be done ([`Bootstrap::is_open`]) that nobody works on and that do not rest, oldest first, at
    /// most `limit`.
    async fn bootstraps_due(&self, now: Timestamp, limit: usize) -> Result<Vec<BootstrapId>, Self::Error>;

    /// Bootstraps that were created before `before` and never got an invoice, at most `limit`.
    async fn bootstraps_never_invoiced(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<BootstrapId>, Self::Error>;
}
