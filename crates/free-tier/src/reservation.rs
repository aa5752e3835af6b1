//! Reservations: the pool's money and the identity's day, taken at once, before the work.

use crate::{FreeTierError, Standing};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_money::Msats;
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// Names a reservation. A job's has the job's own id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReservationId(pub Uuid);

impl fmt::Display for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ReservationId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// Where a reservation stands. It ends once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReservationState {
    /// The pool's part of work whose other part the customer has not paid yet. It ends with the invoice for that.
    Offered,
    /// The work runs.
    Held {
        /// When it lapses unless renewed; `None`: it lives as long as its job.
        until: Option<Timestamp>,
    },
    /// The work is done.
    Settled {
        /// What the pool has paid of it.
        absorbed: Msats,
    },
    /// The work was not done.
    Released,
    /// Whoever held it gave no sign of life.
    Lapsed {
        /// What the pool has paid after all, for work that ended later.
        absorbed_late: Option<Msats>,
    },
}

impl ReservationState {
    /// The name that the stores use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Held { .. } => "held",
            Self::Settled { .. } => "settled",
            Self::Released => "released",
            Self::Lapsed { .. } => "lapsed",
        }
    }

    /// Whether the money is set aside.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Offered | Self::Held { .. })
    }

    /// What the pool has paid in the end.
    #[must_use]
    pub const fn absorbed(self) -> Msats {
        match self {
            Self::Settled { absorbed } | Self::Lapsed { absorbed_late: Some(absorbed) } => absorbed,
            _ => Msats::ZERO,
        }
    }
}

/// An amount that is set aside, of the pool and of an identity's day, for one piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// What names it.
    pub id: ReservationId,
    /// Whose.
    pub pubkey: NostrPubkey,
    /// How much.
    pub amount: Msats,
    /// The budget of the day under which it was made.
    pub budget: Msats,
    /// What counted against that budget once it was made: never more.
    pub used_after: Msats,
    /// Where it stands.
    pub state: ReservationState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A reservation that was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservationSettled {
    /// The reservation, ended.
    pub reservation: Reservation,
    /// The standing without it, and with the grant.
    pub standing: Standing,
    /// What the pool pays.
    pub absorbed: Msats,
}

impl Reservation {
    /// Sets `amount` of the day aside. The same amount of the pool is to be set aside with it.
    ///
    /// # Errors
    /// [`FreeTierError::OverBudget`], [`FreeTierError::Pointless`] for nothing.
    pub fn make(
        id: ReservationId,
        standing: &Standing,
        amount: Msats,
        budget: Msats,
        state: ReservationState,
        now: Timestamp,
    ) -> Result<(Self, Standing), FreeTierError> {
        if amount.is_zero() {
            return Err(FreeTierError::Pointless);
        }
        let mut day = standing.day.reserve(amount, budget, now)?;
        if state == ReservationState::Offered {
            if let Some(other) = day.offer {
                return Err(FreeTierError::OfferOpen(other));
            }
            day.offer = Some(id);
        }
        let used_after = day.used(now)?;
        let pubkey = standing.pubkey();
        let made = Self { id, pubkey, amount, budget, used_after, state, created_at: now, updated_at: now };
        Ok((made, standing.with(day, now)))
    }

    /// The offer with its other part paid: the work runs.
    ///
    /// # Errors
    /// [`FreeTierError::Ended`] when it is no offer any more.
    pub fn take_up(&self, standing: &Standing, now: Timestamp) -> Result<(Self, Standing), FreeTierError> {
        self.check_owner(standing)?;
        if self.state != ReservationState::Offered {
            return Err(self.ended());
        }
        let taken = self.moved(ReservationState::Held { until: None }, now);
        Ok((taken, self.without_offer(standing, now)))
    }

    /// The reservation with a lease that runs until `lease` after `now`.
    ///
    /// # Errors
    /// [`FreeTierError::Ended`] when it is over, or is a job's and needs no lease.
    pub fn renew(&self, standing: &Standing, now: Timestamp, lease: Duration) -> Result<Self, FreeTierError> {
        self.check_owner(standing)?;
        match self.state {
            ReservationState::Held { until: Some(_) } => {
                Ok(self.moved(ReservationState::Held { until: Some(now + lease) }, now))
            }
            _ => Err(self.ended()),
        }
    }

    /// Ends it with the work done: the pool pays `cost`, at most what was reserved; the rest goes back to pool and day.
    ///
    /// # Errors
    /// [`FreeTierError::Ended`] the second time.
    pub fn settle(
        &self,
        standing: &Standing,
        cost: Msats,
        now: Timestamp,
    ) -> Result<ReservationSettled, FreeTierError> {
        self.check_owner(standing)?;
        if !self.state.is_live() {
            return Err(self.ended());
        }
        let absorbed = cost.min(self.amount);
        let standing = self.without_offer(standing, now);
        let day = standing.day.settle(self.amount, absorbed, now)?;
        Ok(ReservationSettled {
            reservation: self.moved(ReservationState::Settled { absorbed }, now),
            standing: standing.with(day, now),
            absorbed,
        })
    }

    /// Ends it with nothing done: all goes back to pool and day.
    ///
    /// # Errors
    /// [`FreeTierError::Ended`] the second time.
    pub fn release(&self, standing: &Standing, now: Timestamp) -> Result<(Self, Standing), FreeTierError> {
        self.give_back(standing, ReservationState::Released, now)
    }

    /// Ends it because its lease has run out.
    ///
    /// # Errors
    /// [`FreeTierError::Live`] before that, or when it lives as long as its job; [`FreeTierError::Ended`].
    pub fn lapse(&self, standing: &Standing, now: Timestamp) -> Result<(Self, Standing), FreeTierError> {
        match self.state {
            ReservationState::Held { until: Some(until) } if until <= now => {
                self.give_back(standing, ReservationState::Lapsed { absorbed_late: None }, now)
            }
            ReservationState::Held { .. } | ReservationState::Offered => Err(FreeTierError::Live(self.id)),
            _ => Err(self.ended()),
        }
    }

    /// One that had lapsed, and whose work ended after all: `absorbed` was granted anew.
    ///
    /// # Errors
    /// [`FreeTierError::Ended`] when it has not lapsed, or the second time.
    pub fn absorbed_late(
        &self,
        standing: &Standing,
        absorbed: Msats,
        now: Timestamp,
    ) -> Result<Self, FreeTierError> {
        self.check_owner(standing)?;
        match self.state {
            ReservationState::Lapsed { absorbed_late: None } => {
                Ok(self.moved(ReservationState::Lapsed { absorbed_late: Some(absorbed) }, now))
            }
            _ => Err(self.ended()),
        }
    }

    fn give_back(
        &self,
        standing: &Standing,
        to: ReservationState,
        now: Timestamp,
    ) -> Result<(Self, Standing), FreeTierError> {
        self.check_owner(standing)?;
        if !self.state.is_live() {
            return Err(self.ended());
        }
        let standing = self.without_offer(standing, now);
        let day = standing.day.settle(self.amount, Msats::ZERO, now)?;
        Ok((self.moved(to, now), standing.with(day, now)))
    }

    fn without_offer(&self, standing: &Standing, now: Timestamp) -> Standing {
        let mut day = standing.day.clone();
        day.offer = day.offer.filter(|offer| *offer != self.id);
        standing.with(day, now)
    }

    fn moved(&self, state: ReservationState, now: Timestamp) -> Self {
        Self { state, updated_at: now, ..self.clone() }
    }

    fn check_owner(&self, standing: &Standing) -> Result<(), FreeTierError> {
        if standing.pubkey() == self.pubkey { Ok(()) } else { Err(FreeTierError::OtherIdentity(self.id)) }
    }

    const fn ended(&self) -> FreeTierError {
        FreeTierError::Ended { reservation: self.id, state: self.state.name() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const LEASE: Duration = Duration::from_mins(1);

    fn msats(n: u64) -> Msats {
        Msats::new(n).unwrap()
    }

    fn standing() -> Standing {
        Standing::new(NostrPubkey::restore(&"a".repeat(64)).unwrap(), NOW)
    }

    fn make(
        n: u128,
        amount: u64,
        state: ReservationState,
        on: &Standing,
    ) -> Result<(Reservation, Standing), FreeTierError> {
        Reservation::make(ReservationId(Uuid::from_u128(n)), on, msats(amount), msats(100), state, NOW)
    }

    const LEASED: ReservationState = ReservationState::Held { until: Some(Timestamp::UNIX_EPOCH) };

    #[test]
    fn two_reservations_never_take_the_same_day() {
        let (first, one) = make(1, 60, LEASED, &standing()).unwrap();
        assert_eq!((first.used_after, first.budget), (msats(60), msats(100)));
        let over = FreeTierError::OverBudget { used: msats(60), amount: msats(41), budget: msats(100) };
        assert_eq!(make(2, 41, LEASED, &one), Err(over));
        let (second, both) = make(2, 40, LEASED, &one).unwrap();
        assert_eq!(second.used_after, msats(100));
        let (_, back) = first.release(&both, NOW).unwrap();
        assert_eq!(back.day.reserved, msats(40));
    }

    #[test]
    fn a_reservation_ends_once_and_gives_back_what_was_not_used() {
        let (held, one) = make(1, 60, LEASED, &standing()).unwrap();
        let settled = held.settle(&one, msats(25), NOW).unwrap();
        assert_eq!(
            (settled.absorbed, settled.standing.day.absorbed, settled.standing.day.reserved),
            (msats(25), msats(25), Msats::ZERO)
        );
        let dear = held.settle(&one, msats(99), NOW).unwrap();
        assert_eq!(dear.absorbed, msats(60), "never more than was reserved");
        let released = held.release(&one, NOW).unwrap().0;
        let lapsed = held.lapse(&one, NOW).unwrap().0;
        for ended in [settled.reservation, released, lapsed] {
            assert!(matches!(ended.settle(&one, msats(1), NOW), Err(FreeTierError::Ended { .. })));
            assert!(matches!(ended.release(&one, NOW), Err(FreeTierError::Ended { .. })));
            assert!(matches!(ended.lapse(&one, NOW + LEASE), Err(FreeTierError::Ended { .. })));
            assert!(matches!(ended.renew(&one, NOW, LEASE), Err(FreeTierError::Ended { .. })));
            assert!(matches!(ended.take_up(&one, NOW), Err(FreeTierError::Ended { .. })));
        }
    }

    #[test]
    fn an_identity_has_one_offer_at_a_time() {
        let (offer, one) = make(1, 30, ReservationState::Offered, &standing()).unwrap();
        assert_eq!(make(2, 30, ReservationState::Offered, &one), Err(FreeTierError::OfferOpen(offer.id)));
        assert!(make(2, 30, LEASED, &one).is_ok(), "free work is no offer");
        let (taken, paid) = offer.take_up(&one, NOW).unwrap();
        assert_eq!((taken.state, paid.day.offer), (ReservationState::Held { until: None }, None));
        assert!(make(2, 30, ReservationState::Offered, &paid).is_ok());
        let (_, released) = offer.release(&one, NOW).unwrap();
        assert_eq!((released.day.offer, released.day.reserved), (None, Msats::ZERO));
    }

    #[test]
    fn what_lives_with_its_job_does_not_lapse() {
        for state in [ReservationState::Offered, ReservationState::Held { until: None }] {
            let (held, one) = make(1, 30, state, &standing()).unwrap();
            assert_eq!(held.lapse(&one, NOW + LEASE), Err(FreeTierError::Live(held.id)));
            assert!(matches!(held.renew(&one, NOW, LEASE), Err(FreeTierError::Ended { .. })));
        }
        let (held, one) = make(1, 30, LEASED, &standing()).unwrap();
        let renewed = held.renew(&one, NOW, LEASE).unwrap();
        assert_eq!(renewed.lapse(&one, NOW), Err(FreeTierError::Live(held.id)));
        assert!(renewed.lapse(&one, NOW + LEASE).is_ok());
    }

    #[test]
    fn another_identity_cannot_end_it() {
        let (held, _) = make(1, 30, LEASED, &standing()).unwrap();
        let other = Standing::new(NostrPubkey::restore(&"b".repeat(64)).unwrap(), NOW);
        assert_eq!(held.release(&other, NOW), Err(FreeTierError::OtherIdentity(held.id)));
        assert_eq!(held.settle(&other, msats(1), NOW), Err(FreeTierError::OtherIdentity(held.id)));
        assert_eq!(held.renew(&other, NOW, LEASE), Err(FreeTierError::OtherIdentity(held.id)));
        assert_eq!(held.absorbed_late(&other, msats(1), NOW), Err(FreeTierError::OtherIdentity(held.id)));
    }

    #[test]
    fn what_lapsed_is_settled_late_at_most_once() {
        let (held, one) = make(1, 30, LEASED, &standing()).unwrap();
        let (lapsed, _) = held.lapse(&one, NOW).unwrap();
        let late = lapsed.absorbed_late(&one, msats(10), NOW).unwrap();
        assert_eq!(late.state.absorbed(), msats(10));
        assert!(late.absorbed_late(&one, msats(10), NOW).is_err());
        assert!(held.absorbed_late(&one, msats(10), NOW).is_err());
    }
}
