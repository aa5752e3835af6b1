//! What commands do with the pool, with reservations and with grants.

use crate::books::rows::{Reservations, RowKind};
use crate::books::{Books, Refusal, RowKeys};
use std::time::Duration;
use tithe_free_tier::{
    Grant, NewReservation, PoolState, Reservation, ReservationEnded, ReservationId, Reserved, Serve,
};
use tithe_ledger::{AccountId, Transfer};
use tithe_money::{Msats, Sats};
use tithe_trust::NostrPubkey;

impl RowKeys {
    /// Declares the pool and its counters.
    pub(crate) fn declare_pool(&mut self) {
        self.accounts.insert(AccountId::Pool);
        self.pool_counters.insert(());
    }

    /// Declares a reservation, with its identity and the pool.
    pub(crate) fn declare_reservation(&mut self, reservation: ReservationId, identity: NostrPubkey) {
        self.identities.insert(identity);
        self.reservations.insert(reservation);
        self.declare_pool();
    }
}

impl Books<'_> {
    /// The reservation of this id.
    pub(crate) fn reservation(&self, id: ReservationId) -> Result<Reservation, Refusal> {
        let stored = self.rows.reservations.get(&id)?.cloned();
        stored.ok_or_else(|| Refusal::not_found(Reservations::NAME, &id))
    }

    /// The reservation of this id, if there is one that still sets money aside.
    pub(crate) fn live_reservation(&self, id: ReservationId) -> Result<Option<Reservation>, Refusal> {
        let stored = self.rows.reservations.get(&id)?;
        Ok(stored.filter(|reservation| reservation.state.is_live()).cloned())
    }

    /// The pool.
    pub(crate) fn pool_state(&self) -> Result<PoolState, Refusal> {
        let counters = self.rows.pool_counters.get(&())?.copied().unwrap_or_default();
        Ok(PoolState::new(self.account(AccountId::Pool)?, counters)?)
    }

    /// Reserves the whole price of work that the pool is to pay.
    pub(crate) fn grant_reserve(
        &mut self,
        id: ReservationId,
        pubkey: NostrPubkey,
        amount: Msats,
        lease: Duration,
    ) -> Result<Reservation, Refusal> {
        if self.rows.reservations.contains(&id)? {
            return Err(Refusal::exists(Reservations::NAME, &id));
        }
        let identity = self.identity(pubkey)?;
        let (pool, rules, now) = (self.pool_state()?, self.rules(), self.now());
        let decision = identity.decide(rules, pool.view(), amount, now)?;
        if decision.serve != Serve::Free {
            return Err(Refusal::NotFree(decision));
        }
        let new = NewReservation { id, amount, budget: identity.budget(rules, now) };
        let reserved = new.hold(&identity, &pool, Some(lease), now)?;
        let reservation = reserved.reservation.clone();
        self.reserved_write(reserved)?;
        Ok(reservation)
    }

    /// Decides what the pool pays of work that is invoiced before it runs, and reserves it. Returns what was reserved.
    pub(crate) fn reserve_invoiced(
        &mut self,
        id: ReservationId,
        pubkey: NostrPubkey,
        price: Sats,
    ) -> Result<Msats, Refusal> {
        let (rules, now) = (self.rules(), self.now());
        let (identity, pool) = (self.identity(pubkey)?, self.pool_state()?);
        let Some(reserved) = NewReservation::invoiced(id, &identity, &pool, price, rules, now)? else {
            return Ok(Msats::ZERO);
        };
        let amount = reserved.reservation.amount;
        self.reserved_write(reserved)?;
        Ok(amount)
    }

    /// Turns an offer into a reservation of running work: the customer has paid their part.
    pub(crate) fn reservation_activate(&mut self, offer: &Reservation) -> Result<(), Refusal> {
        let identity = self.identity(offer.pubkey)?;
        let active = offer.activate(&identity, &self.pool_state()?, self.now())?;
        self.reserved_write(active)
    }

    /// Releases a reservation: the work was not done.
    pub(crate) fn reservation_release(&mut self, reservation: &Reservation) -> Result<(), Refusal> {
        let identity = self.identity(reservation.pubkey)?;
        let ended = reservation.release(&identity, &self.pool_state()?, self.now())?;
        self.reservation_end(ended)
    }

    /// Writes a reservation that was made or activated.
    pub(crate) fn reserved_write(&mut self, reserved: Reserved) -> Result<(), Refusal> {
        self.pool_write(&self.pool_state()?, reserved.pool)?;
        self.rows.identities.put(reserved.identity)?;
        self.rows.reservations.put(reserved.reservation)
    }

    /// Writes the end of a reservation, with its grant.
    pub(crate) fn reservation_end(&mut self, ended: ReservationEnded) -> Result<(), Refusal> {
        self.pool_write(&self.pool_state()?, ended.pool)?;
        self.rows.identities.put(ended.identity)?;
        self.rows.reservations.put(ended.reservation)?;
        self.grant_write(ended.grant, ended.transfers);
        Ok(())
    }

    /// Writes those of the pool's rows that have changed.
    pub(crate) fn pool_write(&mut self, before: &PoolState, after: PoolState) -> Result<(), Refusal> {
        let changed = (before.account() != after.account(), before.counters() != after.counters());
        let (account, counters) = after.into_rows();
        if changed.0 {
            self.rows.accounts.put(account)?;
        }
        if changed.1 {
            self.rows.pool_counters.put(counters)?;
        }
        Ok(())
    }

    /// Records a grant.
    pub(crate) fn grant_write(&mut self, grant: Option<Grant>, transfers: Vec<Transfer>) {
        if let Some(grant) = grant {
            self.rows.grants.push(grant);
        }
        self.transfers_write(transfers);
    }
}
