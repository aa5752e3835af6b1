//! Reservations: an amount reserved from the pool and from the identity's budget window before the work starts.

use crate::{
    FreeTierError, Grant, GrantLease, GrantRequest, Identity, PoolState, ReservationId, ReservationState,
    Rules, settle,
};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_ledger::{LifecycleError, Transfer};
use tithe_money::Msats;
use tithe_trust::NostrPubkey;

/// An amount reserved for one piece of work, from the pool and from an identity's budget window.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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

/// What a reservation that begins or goes on changes: the caller stores all of it in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// The reservation.
    pub reservation: Reservation,
    /// Its identity.
    pub identity: Identity,
    /// The pool.
    pub pool: PoolState,
}

/// What the end of a reservation changes: the caller stores all of it in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservationEnded {
    /// The reservation, ended.
    pub reservation: Reservation,
    /// Its identity, with the reservation replaced by the grant.
    pub identity: Identity,
    /// The pool, without the reserved amount and after the grant.
    pub pool: PoolState,
    /// The amount that the pool paid.
    pub absorbed: Msats,
    /// The grant, to be added to the log; `None` if the pool paid nothing.
    pub grant: Option<Grant>,
    /// The transfers, to be added. The pool above includes them.
    pub transfers: Vec<Transfer>,
}

impl Reservation {
    /// The name of its state that the stores use: that of an offer and of an expired reservation differ from other lifecycles.
    #[must_use]
    pub const fn state_name(&self) -> &'static str {
        match &self.state {
            ReservationState::Held { lease: GrantLease::Offer } => "offered",
            ReservationState::Expired { .. } => "lapsed",
            state => state.as_str(),
        }
    }

    /// Whether it is an open offer.
    #[must_use]
    pub const fn is_offer(&self) -> bool {
        matches!(self.state, ReservationState::Held { lease: GrantLease::Offer })
    }

    /// The amount that the pool paid in the end.
    #[must_use]
    pub fn absorbed(&self) -> Msats {
        self.state.taken().unwrap_or(Msats::ZERO)
    }

    /// Turns an offer into a reservation of running work, once the customer has paid the other part.
    ///
    /// # Errors
    /// [`FreeTierError::Ended`] if the reservation is not an open offer.
    pub fn activate(
        &self,
        identity: &Identity,
        pool: &PoolState,
        now: Timestamp,
    ) -> Result<Reserved, FreeTierError> {
        self.check_owner(identity)?;
        if !self.is_offer() {
            return Err(self.ended());
        }
        let activated = self.state.renewed(GrantLease::Job).map_err(|failure| self.refused(failure))?;
        Ok(Reserved {
            reservation: self.moved(activated, now),
            identity: self.without_offer(identity, now),
            pool: pool.end_offer(self.amount),
        })
    }

    /// Extends the lease to `lease` after `now`. The caller stores the reservation.
    ///
    /// # Errors
    /// [`FreeTierError::Ended`] if the reservation has ended, or belongs to a job and has no lease.
    pub fn renew(&self, identity: &Identity, now: Timestamp, lease: Duration) -> Result<Self, FreeTierError> {
        self.check_owner(identity)?;
        if !matches!(self.state.lease(), Ok(GrantLease::Until(_))) {
            return Err(self.ended());
        }
        let lease = GrantLease::Until(now + lease);
        let renewed = self.state.renewed(lease).map_err(|failure| self.refused(failure))?;
        Ok(self.moved(renewed, now))
    }

    /// Ends the reservation with the work done: the pool pays its cost, at most the reserved amount, and the rest is released.
    /// If the reservation has expired, the pool pays, once, what it would pay for the work now.
    ///
    /// The caller stores all of the result in one transaction. It still has to charge the customer with the part of the cost
    /// that the pool does not pay.
    ///
    /// # Errors
    /// [`FreeTierError::Ended`] if the reservation was already settled or released.
    pub fn settle(
        &self,
        identity: &Identity,
        pool: &PoolState,
        request: GrantRequest<'_>,
        rules: &Rules,
        now: Timestamp,
    ) -> Result<ReservationEnded, FreeTierError> {
        self.check_owner(identity)?;
        let is_late = self.state.is_late().map_err(|failure| self.refused(failure))?;
        let cost = request.cost.min(self.amount);
        // A live reservation counts as of the window that its grant counts in, whatever the clocks of the servers say.
        let at = if is_late { now } else { identity.window.grant_time(now) };
        let granted = if is_late {
            settle::grant(identity, pool, GrantRequest { cost, ..request }, rules, now)?
        } else {
            let (identity, pool) = self.without(identity, pool, cost, at)?;
            settle::pay(identity, &pool, request, cost, at)?
        };
        let absorbed = granted.absorbed;
        let state = self.state.settled(absorbed).map_err(|failure| self.refused(failure))?;
        Ok(ReservationEnded {
            reservation: self.moved(state, at),
            identity: granted.identity,
            pool: granted.pool,
            absorbed,
            grant: granted.grant,
            transfers: granted.transfers,
        })
    }

    /// Ends the reservation with the work not done: the whole amount is released. The caller stores all of the result in one
    /// transaction.
    ///
    /// # Errors
    /// [`FreeTierError::Ended`] if the reservation has already ended.
    pub fn release(
        &self,
        identity: &Identity,
        pool: &PoolState,
        now: Timestamp,
    ) -> Result<ReservationEnded, FreeTierError> {
        self.check_owner(identity)?;
        let released = self.state.released().map_err(|failure| self.refused(failure))?;
        self.give_back(identity, pool, released, now)
    }

    /// Ends the reservation because its lease has expired: the whole amount is released. The caller stores all of the result
    /// in one transaction.
    ///
    /// # Errors
    /// [`FreeTierError::Live`] before that, or if it lives as long as its job; [`FreeTierError::Ended`] if it has
    /// ended.
    pub fn expire(
        &self,
        identity: &Identity,
        pool: &PoolState,
        now: Timestamp,
    ) -> Result<ReservationEnded, FreeTierError> {
        let expired = self.state.expired(now).map_err(|failure| self.refused(failure))?;
        self.check_owner(identity)?;
        self.give_back(identity, pool, expired, now)
    }

    fn give_back(
        &self,
        identity: &Identity,
        pool: &PoolState,
        to: ReservationState,
        now: Timestamp,
    ) -> Result<ReservationEnded, FreeTierError> {
        let (identity, pool) = self.without(identity, pool, Msats::ZERO, now)?;
        let (reservation, absorbed) = (self.moved(to, now), Msats::ZERO);
        Ok(ReservationEnded { reservation, identity, pool, absorbed, grant: None, transfers: Vec::new() })
    }

    /// The identity and the pool without this live reservation, of which `absorbed` counts as granted.
    fn without(
        &self,
        identity: &Identity,
        pool: &PoolState,
        absorbed: Msats,
        at: Timestamp,
    ) -> Result<(Identity, PoolState), FreeTierError> {
        let identity = self.without_offer(identity, at);
        let window = identity.window.end_reservation(self.amount, absorbed, at)?;
        let pool = pool.unhold(self.amount)?;
        let pool = if self.is_offer() { pool.end_offer(self.amount) } else { pool };
        Ok((identity.with(window, at), pool))
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
        FreeTierError::Ended { reservation: self.id, state: self.state_name() }
    }

    const fn refused(&self, failure: LifecycleError) -> FreeTierError {
        match failure {
            LifecycleError::Ended(_) => self.ended(),
            LifecycleError::Live => FreeTierError::Live(self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Budgets, FreeTierPolicy, GrantId, NewReservation, PoolCounters, RequestHash};
    use tithe_ledger::{Account, AccountId, TransferKey, TransferKeys, TransferKind};
    use tithe_money::Sats;
    use uuid::Uuid;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const LEASE: Duration = Duration::from_mins(1);
    const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

    fn msats(n: u64) -> Msats {
        Msats::new(n).unwrap()
    }

    fn identity() -> Identity {
        Identity::new(NostrPubkey::restore(&"a".repeat(64)).unwrap(), NOW)
    }

    fn pool() -> PoolState {
        let account = Account::restore(AccountId::Pool, msats(1_000_000), Msats::ZERO).unwrap();
        PoolState::new(account, PoolCounters::default()).unwrap()
    }

    fn new(n: u128, amount: u64) -> NewReservation {
        NewReservation { id: ReservationId(Uuid::from_u128(n)), amount: msats(amount), budget: msats(100) }
    }

    /// New identities have a budget of 1 sat.
    fn rules() -> Rules {
        let budgets = Budgets { new: Sats::new(1).unwrap(), ..FreeTierPolicy::default().budgets };
        Rules { free_tier: FreeTierPolicy { budgets, ..FreeTierPolicy::default() }, ..Rules::default() }
    }

    fn settle(
        reservation: &Reservation,
        identity: &Identity,
        pool: &PoolState,
        cost: u64,
    ) -> Result<ReservationEnded, FreeTierError> {
        let mut keys = TransferKeys::new(TransferKey::new("work:1"));
        let id = GrantId(reservation.id.0);
        let request =
            GrantRequest { id, request_hash: RequestHash::of("q"), cost: msats(cost), keys: &mut keys };
        reservation.settle(identity, pool, request, &rules(), NOW)
    }

    #[test]
    fn two_reservations_never_take_the_same_budget() {
        let first = new(1, 60).hold(&identity(), &pool(), AT_ONCE, NOW).unwrap();
        assert_eq!((first.reservation.used_after, first.reservation.budget), (msats(60), msats(100)));
        let over = FreeTierError::OverBudget { used: msats(60), amount: msats(41), budget: msats(100) };
        assert_eq!(new(2, 41).hold(&first.identity, &first.pool, AT_ONCE, NOW), Err(over));
        let both = new(2, 40).hold(&first.identity, &first.pool, AT_ONCE, NOW).unwrap();
        assert_eq!(both.reservation.used_after, msats(100));
        assert_eq!(both.pool.account().held(), msats(100));
        let ended = first.reservation.release(&both.identity, &both.pool, NOW).unwrap();
        assert_eq!((ended.identity.window.reserved, ended.pool.account().held()), (msats(40), msats(40)));
    }

    #[test]
    fn a_reservation_never_takes_more_than_the_pool_has() {
        let account = Account::restore(AccountId::Pool, msats(100), msats(41)).unwrap();
        let poor = PoolState::new(account, PoolCounters::default()).unwrap();
        assert!(matches!(new(1, 60).hold(&identity(), &poor, None, NOW), Err(FreeTierError::Ledger(_))));
        assert!(new(1, 59).hold(&identity(), &poor, None, NOW).is_ok());
        assert_eq!(new(1, 0).hold(&identity(), &poor, None, NOW), Err(FreeTierError::ZeroAmount));
    }

    #[test]
    fn a_reservation_ends_once_and_gives_back_what_was_not_used() {
        let Reserved { reservation: held, identity: one, pool } =
            new(1, 60).hold(&identity(), &pool(), AT_ONCE, NOW).unwrap();
        let settled = settle(&held, &one, &pool, 25).unwrap();
        let window = &settled.identity.window;
        assert_eq!((settled.absorbed, window.absorbed, window.reserved), (msats(25), msats(25), Msats::ZERO));
        let account = settled.pool.account();
        assert_eq!((account.balance(), account.held()), (msats(999_975), Msats::ZERO));
        assert_eq!(settled.pool.counters().granted, msats(25));
        let grant = settled.grant.as_ref().unwrap();
        assert_eq!((grant.absorbed, grant.pool_balance_after), (msats(25), account.balance()));
        let [transfer] = settled.transfers.as_slice() else { panic!("one transfer") };
        assert_eq!(
            (transfer.kind, transfer.amount, transfer.debit),
            (TransferKind::Grant, msats(25), AccountId::Pool)
        );
        let dear = settle(&held, &one, &pool, 99).unwrap();
        assert_eq!(dear.absorbed, msats(60), "never more than was reserved");
        let free = settle(&held, &one, &pool, 0).unwrap();
        assert_eq!(
            (free.grant, free.transfers),
            (None, vec![]),
            "nothing is granted for work that cost nothing"
        );
        let released = held.release(&one, &pool, NOW).unwrap();
        let expired = held.expire(&one, &pool, NOW).unwrap();
        assert_eq!((released.grant, expired.transfers), (None, vec![]));
        for ended in [settled.reservation, released.reservation] {
            assert!(matches!(settle(&ended, &one, &pool, 1), Err(FreeTierError::Ended { .. })));
            assert!(matches!(ended.release(&one, &pool, NOW), Err(FreeTierError::Ended { .. })));
            assert!(matches!(ended.expire(&one, &pool, NOW + LEASE), Err(FreeTierError::Ended { .. })));
            assert!(matches!(ended.renew(&one, NOW, LEASE), Err(FreeTierError::Ended { .. })));
            assert!(matches!(ended.activate(&one, &pool, NOW), Err(FreeTierError::Ended { .. })));
        }
        let ended = expired.reservation;
        assert!(matches!(ended.release(&one, &pool, NOW), Err(FreeTierError::Ended { .. })));
        assert!(matches!(ended.renew(&one, NOW, LEASE), Err(FreeTierError::Ended { .. })));
    }

    #[test]
    fn states_have_the_names_that_the_stores_read() {
        let Reserved { reservation: offer, identity: one, pool } =
            new(1, 30).offer(&identity(), &pool(), NOW).unwrap();
        let held = offer.activate(&one, &pool, NOW).unwrap().reservation;
        let settled = settle(&offer, &one, &pool, 1).unwrap().reservation;
        let released = offer.release(&one, &pool, NOW).unwrap().reservation;
        let expired = Reservation { state: ReservationState::Expired { late: None }, ..offer.clone() };
        let names = [offer, held, settled, released, expired].map(|reservation| reservation.state_name());
        assert_eq!(names, ["offered", "held", "settled", "released", "lapsed"]);
    }

    #[test]
    fn an_identity_has_one_offer_at_a_time() {
        let Reserved { reservation: offer, identity: one, pool } =
            new(1, 30).offer(&identity(), &pool(), NOW).unwrap();
        assert_eq!(pool.counters().offered, msats(30));
        assert_eq!(new(2, 30).offer(&one, &pool, NOW), Err(FreeTierError::OfferOpen(offer.id)));
        assert!(new(2, 30).hold(&one, &pool, AT_ONCE, NOW).is_ok(), "free work is no offer");
        let active = offer.activate(&one, &pool, NOW).unwrap();
        assert_eq!(active.reservation.state, ReservationState::Held { lease: GrantLease::Job });
        assert_eq!((active.identity.window.offer, active.pool.counters().offered), (None, Msats::ZERO));
        assert_eq!(active.pool.account().held(), msats(30), "the amount stays reserved");
        assert!(new(2, 30).offer(&active.identity, &active.pool, NOW).is_ok());
        let released = offer.release(&one, &pool, NOW).unwrap();
        assert_eq!((released.identity.window.offer, released.identity.window.reserved), (None, Msats::ZERO));
        assert_eq!(released.pool, self::pool());
    }

    #[test]
    fn a_reservation_of_a_job_does_not_expire() {
        let offer = new(1, 30).offer(&identity(), &pool(), NOW).unwrap();
        let job = new(1, 30).hold(&identity(), &pool(), None, NOW).unwrap();
        for Reserved { reservation, identity, pool } in [offer, job] {
            let live = FreeTierError::Live(reservation.id);
            assert_eq!(reservation.expire(&identity, &pool, NOW + LEASE), Err(live));
            assert!(matches!(reservation.renew(&identity, NOW, LEASE), Err(FreeTierError::Ended { .. })));
        }
        let Reserved { reservation, identity, pool } =
            new(1, 30).hold(&identity(), &pool(), AT_ONCE, NOW).unwrap();
        let renewed = reservation.renew(&identity, NOW, LEASE).unwrap();
        assert_eq!(renewed.expire(&identity, &pool, NOW), Err(FreeTierError::Live(reservation.id)));
        assert!(renewed.expire(&identity, &pool, NOW + LEASE).is_ok());
    }

    #[test]
    fn another_identity_cannot_end_it() {
        let Reserved { reservation: held, pool, .. } =
            new(1, 30).hold(&identity(), &pool(), AT_ONCE, NOW).unwrap();
        let other = Identity::new(NostrPubkey::restore(&"b".repeat(64)).unwrap(), NOW);
        let refused = FreeTierError::OtherIdentity(held.id);
        assert_eq!(held.release(&other, &pool, NOW), Err(refused.clone()));
        assert_eq!(held.expire(&other, &pool, NOW), Err(refused.clone()));
        assert_eq!(settle(&held, &other, &pool, 1), Err(refused.clone()));
        assert_eq!(held.renew(&other, NOW, LEASE), Err(refused));
    }

    #[test]
    fn an_expired_reservation_is_settled_late_at_most_once_and_within_the_limits_of_now() {
        let Reserved { reservation, identity, pool } =
            new(1, 30).hold(&identity(), &pool(), AT_ONCE, NOW).unwrap();
        let expired = reservation.expire(&identity, &pool, NOW).unwrap();
        let late = settle(&expired.reservation, &expired.identity, &expired.pool, 10).unwrap();
        assert_eq!((late.absorbed, late.reservation.absorbed()), (msats(10), msats(10)));
        assert_eq!(late.identity.window.absorbed, msats(10));
        assert!(settle(&late.reservation, &late.identity, &late.pool, 10).is_err());
        let dear = settle(&expired.reservation, &expired.identity, &expired.pool, 99).unwrap();
        assert_eq!(dear.absorbed, msats(30), "never more than was reserved");
        let window = expired.identity.window.grant(msats(995), msats(1_000), NOW).unwrap();
        let used_up = expired.identity.with(window, NOW);
        assert_eq!(settle(&expired.reservation, &used_up, &expired.pool, 10).unwrap().absorbed, msats(5));
    }
}
