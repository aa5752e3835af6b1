//! The port to where standings, reservations and grants are kept.

use crate::{Grant, GrantId, PoolTally, Reservation, ReservationId, Standing};
use async_trait::async_trait;
use tithe_clock::Timestamp;
use tithe_trust::NostrPubkey;

/// Reads the free tier. It is written in the engine's batches only.
#[async_trait]
pub trait FreeTierRepository: Send + Sync {
    /// What reading can fail with.
    type Error;

    /// An identity's standing, or `None` when nobody has seen it before.
    async fn standing(&self, pubkey: NostrPubkey) -> Result<Option<Standing>, Self::Error>;

    /// The reservation of this id, or `None`.
    async fn reservation(&self, id: ReservationId) -> Result<Option<Reservation>, Self::Error>;

    /// Reservations whose lease ran out at or before `now`, at most `limit`. Those that live with a job are not among them.
    async fn reservations_overdue(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Reservation>, Self::Error>;

    /// What the pool's limits count; nothing before the first offer or grant.
    async fn pool_tally(&self) -> Result<PoolTally, Self::Error>;

    /// The grant of this id, or `None`.
    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, Self::Error>;
}
