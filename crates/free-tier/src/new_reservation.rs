//! Reservations that are to be made.

use crate::{
    FreeTierError, GrantLease, Identity, PoolState, Reservation, ReservationId, ReservationState, Reserved,
    Rules, Serve,
};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_money::{Msats, Sats};

/// A reservation that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewReservation {
    /// The reservation's id.
    pub id: ReservationId,
    /// The amount to reserve.
    pub amount: Msats,
    /// The identity's budget now ([`Identity::budget`]).
    pub budget: Msats,
}

impl NewReservation {
    /// Reserves the amount, from the pool and from the identity's budget, for work that runs now. The reservation expires
    /// after `lease` unless it is renewed; without a lease, it lives until the caller ends it together with its job.
    ///
    /// # Errors
    /// [`FreeTierError::OverBudget`] and [`FreeTierError::Ledger`] if the budget or the pool has less,
    /// [`FreeTierError::ZeroAmount`] for a zero amount.
    pub fn hold(
        self,
        identity: &Identity,
        pool: &PoolState,
        lease: Option<Duration>,
        now: Timestamp,
    ) -> Result<Reserved, FreeTierError> {
        let lease = lease.map_or(GrantLease::Job, |lease| GrantLease::Until(now + lease));
        self.reserve(identity, pool, lease, now)
    }

    /// Reserves the amount as the pool's part of work whose other part the customer has not paid yet. It becomes a reservation
    /// of running work by [`Reservation::activate`]. An identity has at most one offer.
    ///
    /// # Errors
    /// Those of [`NewReservation::hold`], and [`FreeTierError::OfferOpen`].
    pub fn offer(
        self,
        identity: &Identity,
        pool: &PoolState,
        now: Timestamp,
    ) -> Result<Reserved, FreeTierError> {
        let mut reserved = self.reserve(identity, pool, GrantLease::Offer, now)?;
        if let Some(other) = reserved.identity.window.offer.replace(self.id) {
            return Err(FreeTierError::OfferOpen(other));
        }
        reserved.pool = reserved.pool.offer(self.amount)?;
        Ok(reserved)
    }

    /// Decides what the pool pays of work that is invoiced before it runs, and reserves it: all of it, to run at once, or a part
    /// of it in whole sats, as an offer. `None` if the pool pays nothing.
    ///
    /// # Errors
    /// [`FreeTierError::Money`] when an amount exceeds the supply of bitcoin.
    pub fn invoiced(
        id: ReservationId,
        identity: &Identity,
        pool: &PoolState,
        price: Sats,
        rules: &Rules,
        now: Timestamp,
    ) -> Result<Option<Reserved>, FreeTierError> {
        let decision = identity.decide_invoiced(rules, pool.view(), price, now)?;
        let new = Self { id, amount: decision.absorb, budget: identity.budget(rules, now) };
        match decision.serve {
            Serve::Gate => Ok(None),
            Serve::Free => new.hold(identity, pool, None, now).map(Some),
            Serve::Partial => new.offer(identity, pool, now).map(Some),
        }
    }

    fn reserve(
        self,
        identity: &Identity,
        pool: &PoolState,
        lease: GrantLease,
        now: Timestamp,
    ) -> Result<Reserved, FreeTierError> {
        let Self { id, amount, budget } = self;
        let state = ReservationState::Held { lease };
        if amount.is_zero() {
            return Err(FreeTierError::ZeroAmount);
        }
        let pool = pool.hold(amount)?;
        let window = identity.window.reserve(amount, budget, now)?;
        let used_after = window.used(now)?;
        let pubkey = identity.pubkey();
        let reservation =
            Reservation { id, pubkey, amount, budget, used_after, state, created_at: now, updated_at: now };
        Ok(Reserved { reservation, identity: identity.with(window, now), pool })
    }
}
