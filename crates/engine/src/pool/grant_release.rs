//! Ends a reservation because the work was not done.

use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_free_tier::{Reservation, ReservationId};
use tithe_trust::NostrPubkey;

/// Ends a reservation: the work was not done. The whole amount goes back to the pool and to the identity's budget.
#[derive(Debug, Clone)]
pub struct GrantRelease {
    /// The reservation.
    pub reservation: ReservationId,
    /// The identity that owns it.
    pub identity: NostrPubkey,
}

impl Command for GrantRelease {
    type Reply = Reservation;
    const NAME: &'static str = "grant_release";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_reservation(self.reservation, self.identity);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Reservation, Refusal> {
        let reservation = books.reservation(self.reservation)?;
        let identity = books.identity(self.identity)?;
        let ended = reservation.release(&identity, &books.pool_state()?, books.now())?;
        let reservation = ended.reservation.clone();
        books.reservation_end(ended)?;
        Ok(reservation)
    }
}
