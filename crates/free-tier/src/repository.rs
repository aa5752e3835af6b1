//! The repository port for identities, reservations and grants.

use crate::{Grant, GrantId, Identity, PoolCounters, Reservation, ReservationId};
use async_trait::async_trait;
use tithe_clock::Timestamp;
use tithe_trust::NostrPubkey;

/// Reads the free tier. Only the engine's batches write it.
#[async_trait]
pub trait FreeTierRepository: Send + Sync {
    /// The error of a failed read.
    type Error;

    /// The identity with this key, or `None` if it has no row yet.
    async fn identity(&self, pubkey: NostrPubkey) -> Result<Option<Identity>, Self::Error>;

    /// The reservation with this id, or `None`.
    async fn reservation(&self, id: ReservationId) -> Result<Option<Reservation>, Self::Error>;

    /// At most `limit` reservations whose lease ran out at or before `now`, the longest overdue first. Reservations
    /// without a lease, which live as long as their job, are never among them.
    async fn reservations_overdue(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Reservation>, Self::Error>;

    /// The pool's counters; all zero before the first offer or grant.
    async fn pool_counters(&self) -> Result<PoolCounters, Self::Error>;

    /// The grant with this id, or `None`.
    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, Self::Error>;
}
