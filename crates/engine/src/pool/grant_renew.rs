//! Extends the lease of a reservation.

use crate::books::{Books, Command, Refusal, RowKeys};
use std::time::Duration;
use tithe_free_tier::{Reservation, ReservationId};
use tithe_trust::NostrPubkey;

/// Extends the lease of a reservation.
#[derive(Debug, Clone)]
pub struct GrantRenew {
    /// The reservation.
    pub reservation: ReservationId,
    /// The identity that owns it.
    pub identity: NostrPubkey,
    /// How long from now the reservation lives.
    pub lease: Duration,
}

impl Command for GrantRenew {
    type Reply = Reservation;
    const NAME: &'static str = "grant_renew";

    fn declare(&self, keys: &mut RowKeys) {
        keys.identities.insert(self.identity);
        keys.reservations.insert(self.reservation);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Reservation, Refusal> {
        let identity = books.identity(self.identity)?;
        let renewed = books.reservation(self.reservation)?.renew(&identity, books.now(), self.lease)?;
        books.rows.reservations.put(renewed.clone())?;
        Ok(renewed)
    }
}
