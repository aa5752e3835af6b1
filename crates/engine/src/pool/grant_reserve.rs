//! Reserves the whole price of work that the pool is to pay.

use crate::books::{Books, Command, Refusal, RowKeys};
use std::time::Duration;
use tithe_free_tier::{Reservation, ReservationId};
use tithe_money::Msats;
use tithe_trust::NostrPubkey;

/// Reserves the whole price of work that the pool is to pay. Refused when the pool does not pay for all of it.
#[derive(Debug, Clone)]
pub struct GrantReserve {
    /// The id of the new reservation.
    pub reservation: ReservationId,
    /// The identity that the work is for.
    pub identity: NostrPubkey,
    /// The price of the work.
    pub amount: Msats,
    /// How long the reservation lives unless it is renewed.
    pub lease: Duration,
}

impl Command for GrantReserve {
    type Reply = Reservation;
    const NAME: &'static str = "grant_reserve";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_reservation(self.reservation, self.identity);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Reservation, Refusal> {
        books.grant_reserve(self.reservation, self.identity, self.amount, self.lease)
    }
}
