//! Reserves the whole price of work that the pool is to pay.

use crate::books::rows::{Reservations, RowKind};
use crate::books::{Books, Command, Refusal, RowKeys};
use std::time::Duration;
use tithe_free_tier::{NewReservation, Reservation, ReservationId, Serve};
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
        if books.rows.reservations.contains(&self.reservation)? {
            return Err(Refusal::exists(Reservations::NAME, &self.reservation));
        }
        let identity = books.identity(self.identity)?;
        let (pool, rules, now) = (books.pool_state()?, books.rules(), books.now());
        let decision = identity.decide(rules, pool.view(), self.amount, now)?;
        if decision.serve != Serve::Free {
            return Err(Refusal::NotFree(decision));
        }
        let budget = identity.budget(rules, now);
        let new = NewReservation { id: self.reservation, amount: self.amount, budget };
        let reserved = new.hold(&identity, &pool, Some(self.lease), now)?;
        let reservation = reserved.reservation.clone();
        books.reserved_write(reserved)?;
        Ok(reservation)
    }
}
