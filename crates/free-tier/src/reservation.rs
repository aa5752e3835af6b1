//! Reservations: an amount reserved from the pool and from the identity's budget window before the work starts.

use crate::{FreeTierError, Identity, ReservationId};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_money::Msats;
use tithe_trust::NostrPubkey;

/// The state of a reservation. It ends exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReservationState {
    /// The pool's part of work whose other part the customer has not paid yet. It ends with the invoice for that part.
    Offered,
    /// The work is running.
    Held {
        /// When the reservation expires unless renewed; `None` if it lives as long as its job.
        until: Option<Timestamp>,
    },
    /// The work is complete.
    Settled {
        /// The amount that the pool paid.
        absorbed: Msats,
    },
    /// The work was not done.
    Released,
    /// The lease expired without being renewed.
    Expired {
        /// The amount that the pool paid after all, for work that ended late.
        absorbed_late: Option<Msats>,
    },
}

impl ReservationState {
    /// The name used by the stores.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Held { .. } => "held",
            Self::Settled { .. } => "settled",
            Self::Released => "released",
            Self::Expired { .. } => "lapsed",
        }
    }

    /// Returns true if the amount is still reserved.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Offered | Self::Held { .. })
    }

    /// The amount that the pool paid in the end.
    #[must_use]
    pub const fn absorbed(self) -> Msats {
        match self {
            Self::Settled { absorbed } | Self::Expired { absorbed_late: Some(absorbed) } => absorbed,
            _ => Msats::ZERO,
        }
    }
}

/// An amount reserved for one piece of work, from the pool and from an identity's budget window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The reservation's id.
    pub id: ReservationId,
    /// The identity that owns the reservation.
    pub pubkey: NostrPubkey,
    /// The reserved amount.
    pub amount: Msats,
    /// The identity's budget when the reservation was made.
    pub budget: Msats,
    /// The amount of that budget in use once the reservation was made; never more than the budget.
    pub used_after: Msats,
    /// The reservation's state.
    pub state: ReservationState,
    /// When the reservation was made.
    pub created_at: Timestamp,
    /// When the reservation last changed.
    pub updated_at: Timestamp,
}

/// The result of settling a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservationSettled {
    /// The settled reservation.
    pub reservation: Reservation,
    /// The identity, with the reservation replaced by the grant.
    pub identity: Identity,
    /// The amount that the pool pays.
    pub absorbed: Msats,
}

impl Reservation {
    /// Reserves `amount` of the identity's budget window. The caller must reserve the same amount of the pool.
    ///
    /// # Errors
    /// [`FreeTierError::OverBudget`], or [`FreeTierError::ZeroAmount`] for a zero amount.
    pub fn make(
        id: ReservationId,
        identity: &Identity,
        amount: Msats,
        budget: Msats,
        state: ReservationState,
        now: Timestamp,
    ) -> Result<(Self, Identity), FreeTierError> {
        if amount.is_zero() {
            return Err(FreeTierError::ZeroAmount);
        }
        let mut window = identity.window.reserve(amount, budget, now)?;
        if state == ReservationState::Offered {
            if let Some(other) = window.offer {
                return Err(FreeTierError::OfferOpen(other));
            }
            window.offer = Some(id);
        }
        let used_after = window.used(now)?;
        let pubkey = identity.pubkey();
        let made = Self { id, pubkey, amount, budget, used_after, state, created_at: now, updated_at: now };
        Ok((made, identity.with(window, now)))
    }

    /// Activates an offer once the customer has paid the other part.
    ///
    /// # Errors
    /// [`FreeTierError::Ended`] if the reservation is not an open offer.
    pub fn activate(&self, identity: &Identity, now: Timestamp) -> Result<(Self, Identity), FreeTierError> {
        self.check_owner(identity)?;
        if self.state != ReservationState::Offered {
            return Err(self.ended());
        }
        let taken = self.moved(ReservationState::Held { until: None }, now);
        Ok((taken, self.without_offer(identity, now)))
    }

    /// Extends the lease to `lease` after `now`.
    ///
    /// # Errors
    /// [`FreeTierError::Ended`] if the reservation has ended, or belongs to a job and has no lease.
    pub fn renew(&self, identity: &Identity, now: Timestamp, lease: Duration) -> Result<Self, FreeTierError> {
        self.check_owner(identity)?;
        match self.state {
            ReservationState::Held { until: Some(_) } => {
                Ok(self.moved(ReservationState::Held { until: Some(now + lease) }, now))
            }
            _ => Err(self.ended()),
        }
    }

    /// Ends the reservation with the work done: the pool pays `cost`, at most the reserved amount; the rest is
    /// released.
    ///
    /// # Errors
    /// [`FreeTierError::Ended`] if the reservation has already ended.
    pub fn settle(
        &self,
        identity: &Identity,
        cost: Msats,
        now: Timestamp,
    ) -> Result<ReservationSettled, FreeTierError> {
        self.check_owner(identity)?;
        if !self.state.is_live() {
            return Err(self.ended());
        }
        let absorbed = cost.min(self.amount);
        let identity = self.without_offer(identity, now);
        let window = identity.window.end_reservation(self.amount, absorbed, now)?;
        Ok(ReservationSettled {
            reservation: self.moved(ReservationState::Settled { absorbed }, now),
            identity: identity.with(window, now),
            absorbed,
        })
    }

    /// Ends the reservation without any work done: the whole amount is released.
    ///
    /// # Errors
    /// [`FreeTierError::Ended`] if the reservation has already ended.
    pub fn release(&self, identity: &Identity, now: Timestamp) -> Result<(Self, Identity), FreeTierError> {
        self.give_back(identity, ReservationState::Released, now)
    }

    /// Ends the reservation because its lease has expired.
    ///
    /// # Errors
    /// [`FreeTierError::Live`] before that, or if it lives as long as its job; [`FreeTierError::Ended`] if it has
    /// ended.
    pub fn expire(&self, identity: &Identity, now: Timestamp) -> Result<(Self, Identity), FreeTierError> {
        match self.state {
            ReservationState::Held { until: Some(until) } if until <= now => {
                self.give_back(identity, ReservationState::Expired { absorbed_late: None }, now)
            }
            ReservationState::Held { .. } | ReservationState::Offered => Err(FreeTierError::Live(self.id)),
            _ => Err(self.ended()),
        }
    }

    /// Records that the work of an expired reservation was completed after all: `absorbed` was granted separately.
    ///
    /// # Errors
    /// [`FreeTierError::Ended`] if the reservation is not expired, or this was already recorded.
    pub fn settle_late(
        &self,
        identity: &Identity,
        absorbed: Msats,
        now: Timestamp,
    ) -> Result<Self, FreeTierError> {
        self.check_owner(identity)?;
        match self.state {
            ReservationState::Expired { absorbed_late: None } => {
                Ok(self.moved(ReservationState::Expired { absorbed_late: Some(absorbed) }, now))
            }
            _ => Err(self.ended()),
        }
    }

    fn give_back(
        &self,
        identity: &Identity,
        to: ReservationState,
        now: Timestamp,
    ) -> Result<(Self, Identity), FreeTierError> {
        self.check_owner(identity)?;
        if !self.state.is_live() {
            return Err(self.ended());
        }
        let identity = self.without_offer(identity, now);
        let window = identity.window.end_reservation(self.amount, Msats::ZERO, now)?;
        Ok((self.moved(to, now), identity.with(window, now)))
    }

    fn without_offer(&self, identity: &Identity, now: Timestamp) -> Identity {
        let mut window = identity.window.clone();
        window.offer = window.offer.filter(|offer| *offer != self.id);
        identity.with(window, now)
    }

    fn moved(&self, state: ReservationState, now: Timestamp) -> Self {
        Self { state, updated_at: now, ..self.clone() }
    }

    fn check_owner(&self, identity: &Identity) -> Result<(), FreeTierError> {
        if identity.pubkey() == self.pubkey { Ok(()) } else { Err(FreeTierError::OtherIdentity(self.id)) }
    }

    const fn ended(&self) -> FreeTierError {
        FreeTierError::Ended { reservation: self.id, state: self.state.name() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const LEASE: Duration = Duration::from_mins(1);

    fn msats(n: u64) -> Msats {
        Msats::new(n).unwrap()
    }

    fn identity() -> Identity {
        Identity::new(NostrPubkey::restore(&"a".repeat(64)).unwrap(), NOW)
    }

    fn make(
        n: u128,
        amount: u64,
        state: ReservationState,
        on: &Identity,
    ) -> Result<(Reservation, Identity), FreeTierError> {
        Reservation::make(ReservationId(Uuid::from_u128(n)), on, msats(amount), msats(100), state, NOW)
    }

    const LEASED: ReservationState = ReservationState::Held { until: Some(Timestamp::UNIX_EPOCH) };

    #[test]
    fn two_reservations_never_take_the_same_day() {
        let (first, one) = make(1, 60, LEASED, &identity()).unwrap();
        assert_eq!((first.used_after, first.budget), (msats(60), msats(100)));
        let over = FreeTierError::OverBudget { used: msats(60), amount: msats(41), budget: msats(100) };
        assert_eq!(make(2, 41, LEASED, &one), Err(over));
        let (second, both) = make(2, 40, LEASED, &one).unwrap();
        assert_eq!(second.used_after, msats(100));
        let (_, back) = first.release(&both, NOW).unwrap();
        assert_eq!(back.window.reserved, msats(40));
    }

    #[test]
    fn a_reservation_ends_once_and_gives_back_what_was_not_used() {
        let (held, one) = make(1, 60, LEASED, &identity()).unwrap();
        let settled = held.settle(&one, msats(25), NOW).unwrap();
        assert_eq!(
            (settled.absorbed, settled.identity.window.absorbed, settled.identity.window.reserved),
            (msats(25), msats(25), Msats::ZERO)
        );
        let dear = held.settle(&one, msats(99), NOW).unwrap();
        assert_eq!(dear.absorbed, msats(60), "never more than was reserved");
        let released = held.release(&one, NOW).unwrap().0;
        let lapsed = held.expire(&one, NOW).unwrap().0;
        for ended in [settled.reservation, released, lapsed] {
            assert!(matches!(ended.settle(&one, msats(1), NOW), Err(FreeTierError::Ended { .. })));
            assert!(matches!(ended.release(&one, NOW), Err(FreeTierError::Ended { .. })));
            assert!(matches!(ended.expire(&one, NOW + LEASE), Err(FreeTierError::Ended { .. })));
            assert!(matches!(ended.renew(&one, NOW, LEASE), Err(FreeTierError::Ended { .. })));
            assert!(matches!(ended.activate(&one, NOW), Err(FreeTierError::Ended { .. })));
        }
    }

    #[test]
    fn an_identity_has_one_offer_at_a_time() {
        let (offer, one) = make(1, 30, ReservationState::Offered, &identity()).unwrap();
        assert_eq!(make(2, 30, ReservationState::Offered, &one), Err(FreeTierError::OfferOpen(offer.id)));
        assert!(make(2, 30, LEASED, &one).is_ok(), "free work is no offer");
        let (taken, paid) = offer.activate(&one, NOW).unwrap();
        assert_eq!((taken.state, paid.window.offer), (ReservationState::Held { until: None }, None));
        assert!(make(2, 30, ReservationState::Offered, &paid).is_ok());
        let (_, released) = offer.release(&one, NOW).unwrap();
        assert_eq!((released.window.offer, released.window.reserved), (None, Msats::ZERO));
    }

    #[test]
    fn what_lives_with_its_job_does_not_lapse() {
        for state in [ReservationState::Offered, ReservationState::Held { until: None }] {
            let (held, one) = make(1, 30, state, &identity()).unwrap();
            assert_eq!(held.expire(&one, NOW + LEASE), Err(FreeTierError::Live(held.id)));
            assert!(matches!(held.renew(&one, NOW, LEASE), Err(FreeTierError::Ended { .. })));
        }
        let (held, one) = make(1, 30, LEASED, &identity()).unwrap();
        let renewed = held.renew(&one, NOW, LEASE).unwrap();
        assert_eq!(renewed.expire(&one, NOW), Err(FreeTierError::Live(held.id)));
        assert!(renewed.expire(&one, NOW + LEASE).is_ok());
    }

    #[test]
    fn another_identity_cannot_end_it() {
        let (held, _) = make(1, 30, LEASED, &identity()).unwrap();
        let other = Identity::new(NostrPubkey::restore(&"b".repeat(64)).unwrap(), NOW);
        assert_eq!(held.release(&other, NOW), Err(FreeTierError::OtherIdentity(held.id)));
        assert_eq!(held.settle(&other, msats(1), NOW), Err(FreeTierError::OtherIdentity(held.id)));
        assert_eq!(held.renew(&other, NOW, LEASE), Err(FreeTierError::OtherIdentity(held.id)));
        assert_eq!(held.settle_late(&other, msats(1), NOW), Err(FreeTierError::OtherIdentity(held.id)));
    }

    #[test]
    fn what_lapsed_is_settled_late_at_most_once() {
        let (held, one) = make(1, 30, LEASED, &identity()).unwrap();
        let (lapsed, _) = held.expire(&one, NOW).unwrap();
        let late = lapsed.settle_late(&one, msats(10), NOW).unwrap();
        assert_eq!(late.state.absorbed(), msats(10));
        assert!(late.settle_late(&one, msats(10), NOW).is_err());
        assert!(held.settle_late(&one, msats(10), NOW).is_err());
    }
}
