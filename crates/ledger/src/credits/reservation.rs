//! Reservations of credits: a credit is reserved before the work starts, and committed, released or expired exactly once.

use super::install::plan_backend;
use super::refusal::CreditError;
use super::{Backend, Counted, Counters, CreditId, Install, InstallId, Plan, Quota};
use crate::lifecycle::Lifecycle;
use std::time::Duration;
use tithe_clock::Timestamp;

/// The state of a credit. What it takes is always one request.
pub type CreditState = Lifecycle<Timestamp, ()>;

/// One request of an install's quota, set aside for one piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Credit {
    /// The credit's id.
    pub id: CreditId,
    /// The install.
    pub install: InstallId,
    /// The plan that the request proved.
    pub plan: Plan,
    /// Where the request runs.
    pub backend: Backend,
    /// What the plan included when the credit was reserved.
    pub quota: Quota,
    /// When the period began that it counts in. Only a monthly quota has periods.
    pub period_start: Timestamp,
    /// What was used of the quota once it was reserved, with what was reserved; never more than the quota.
    pub used_after: u64,
    /// What was used of the cloud's part once it was reserved; never more than that part, if it is for the cloud.
    pub cloud_used_after: u64,
    /// The credit's state.
    pub state: CreditState,
    /// When it was reserved.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A credit that is to be reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewCredit {
    /// The credit's id.
    pub id: CreditId,
    /// The plan that the request proves.
    pub plan: Plan,
    /// What that plan includes.
    pub quota: Quota,
    /// Whether there is hardware.
    pub has_hardware: bool,
    /// How long the credit stays reserved unless it is renewed.
    pub lease: Duration,
}

/// What a step of a credit changes: the caller stores both in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditMoved {
    /// The credit.
    pub credit: Credit,
    /// Its install.
    pub install: Install,
}

impl NewCredit {
    /// Reserves one request and chooses where it runs ([`plan_backend`]).
    ///
    /// # Errors
    /// [`CreditError::Refused`]: nothing changes.
    pub fn reserve(self, install: &Install, now: Timestamp) -> Result<CreditMoved, CreditError> {
        let Self { id, plan, quota, has_hardware, lease } = self;
        let backend = plan_backend(&install.balance(plan, &quota, now), has_hardware)?;
        let mut install = install.under(plan, now);
        let counters = install.counters_mut(quota.counted);
        counters.reserved = counters.reserved.saturating_add(1);
        if backend == Backend::Cloud {
            counters.cloud_reserved = counters.cloud_reserved.saturating_add(1);
        }
        let (used_after, cloud_used_after) = (counters.used(), counters.cloud_used());
        install.last_active_at = install.last_active_at.max(now);
        let credit = Credit {
            id,
            install: install.id,
            plan,
            backend,
            quota,
            period_start: install.period_start,
            used_after,
            cloud_used_after,
            state: CreditState::Held { lease: now + lease },
            created_at: now,
            updated_at: now,
        };
        Ok(CreditMoved { credit, install })
    }
}

impl Credit {
    /// Extends the lease to `lease` after `now`. The caller stores the credit.
    ///
    /// # Errors
    /// [`CreditError::Ended`].
    pub fn renew(&self, now: Timestamp, lease: Duration) -> Result<Self, CreditError> {
        let renewed = self.state.renewed(now + lease).map_err(|failure| CreditError::of(self.id, failure))?;
        Ok(self.moved(renewed, now))
    }

    /// Ends the credit with the work done: the request is consumed.
    ///
    /// If the credit has expired, the request is still consumed, once, if the quota has room for it.
    ///
    /// # Errors
    /// [`CreditError::Ended`] if it was already committed or released; [`CreditError::Refused`] if it has expired and others have
    /// used up the quota since.
    pub fn commit(&self, install: &Install, now: Timestamp) -> Result<CreditMoved, CreditError> {
        let settled = self.state.settled(()).map_err(|failure| CreditError::of(self.id, failure))?;
        self.check_install(install)?;
        let is_late = !self.state.is_live();
        let mut install = install.clone();
        if let Some(counters) = self.counters_of(&mut install) {
            if is_late {
                let full = |most: Option<u64>, used: u64| most.is_some_and(|most| used >= most);
                if full(self.quota.requests, counters.used()) {
                    return Err(super::CreditRefusal::OutOfCredits.into());
                }
                if self.is_cloud() && full(self.quota.cloud, counters.cloud_used()) {
                    return Err(super::CreditRefusal::CloudCapExceededNoHardware.into());
                }
            } else {
                self.unreserve(counters);
            }
            counters.consumed = counters.consumed.saturating_add(1);
            if self.is_cloud() {
                counters.cloud_consumed = counters.cloud_consumed.saturating_add(1);
            }
        }
        Ok(CreditMoved { credit: self.moved(settled, now), install })
    }

    /// Ends the credit with the work not done: it is given back.
    ///
    /// # Errors
    /// [`CreditError::Ended`].
    pub fn release(&self, install: &Install, now: Timestamp) -> Result<CreditMoved, CreditError> {
        let released = self.state.released().map_err(|failure| CreditError::of(self.id, failure))?;
        self.give_back(install, released, now)
    }

    /// Ends the credit because its lease has run out: it is given back.
    ///
    /// # Errors
    /// [`CreditError::Live`] while the lease runs, [`CreditError::Ended`].
    pub fn expire(&self, install: &Install, now: Timestamp) -> Result<CreditMoved, CreditError> {
        let expired = self.state.expired(now).map_err(|failure| CreditError::of(self.id, failure))?;
        self.give_back(install, expired, now)
    }

    fn give_back(
        &self,
        install: &Install,
        state: CreditState,
        now: Timestamp,
    ) -> Result<CreditMoved, CreditError> {
        self.check_install(install)?;
        let mut install = install.clone();
        if let Some(counters) = self.counters_of(&mut install) {
            self.unreserve(counters);
        }
        Ok(CreditMoved { credit: self.moved(state, now), install })
    }

    /// The counters that the credit counts in; `None` if its period is over.
    fn counters_of<'i>(&self, install: &'i mut Install) -> Option<&'i mut Counters> {
        let is_over = self.quota.counted == Counted::Monthly && install.period_start != self.period_start;
        (!is_over).then(|| install.counters_mut(self.quota.counted))
    }

    fn unreserve(&self, counters: &mut Counters) {
        counters.reserved = counters.reserved.saturating_sub(1);
        if self.is_cloud() {
            counters.cloud_reserved = counters.cloud_reserved.saturating_sub(1);
        }
    }

    fn is_cloud(&self) -> bool {
        self.backend == Backend::Cloud
    }

    fn moved(&self, state: CreditState, now: Timestamp) -> Self {
        Self { state, updated_at: now, ..self.clone() }
    }

    fn check_install(&self, install: &Install) -> Result<(), CreditError> {
        if install.id == self.install {
            return Ok(());
        }
        Err(CreditError::OtherInstall { credit: self.id, install: install.id })
    }
}

impl Install {
    const fn counters_mut(&mut self, counted: Counted) -> &mut Counters {
        match counted {
            Counted::Lifetime => &mut self.lifetime,
            Counted::Monthly => &mut self.monthly,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credits::CreditRefusal;
    use uuid::Uuid;

    const LEASE: Duration = Duration::from_mins(5);
    const PRO: Quota = Quota { counted: Counted::Monthly, requests: Some(10), cloud: Some(4) };
    const ONE: Quota = Quota { counted: Counted::Monthly, requests: Some(1), cloud: None };
    const CORE: Quota = Quota { counted: Counted::Lifetime, requests: Some(2), cloud: None };

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn began() -> Timestamp {
        at("2027-01-31T12:00:00Z")
    }

    fn install() -> Install {
        Install::new("0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10".parse().unwrap(), began())
    }

    fn new(n: u128, plan: Plan, quota: Quota) -> NewCredit {
        NewCredit { id: CreditId(Uuid::from_u128(n)), plan, quota, has_hardware: true, lease: LEASE }
    }

    fn refused(refusal: CreditRefusal) -> CreditError {
        CreditError::Refused(refusal)
    }

    #[test]
    fn requests_go_to_the_cloud_under_its_cap_and_then_to_hardware_until_nothing_is_left() {
        let mut moved = new(0, Plan::Pro, PRO).reserve(&install(), began()).unwrap();
        let mut backends = vec![moved.credit.backend];
        for n in 1..10 {
            moved = new(n, Plan::Pro, PRO).reserve(&moved.install, began()).unwrap();
            backends.push(moved.credit.backend);
        }
        assert_eq!(backends, [vec![Backend::Cloud; 4], vec![Backend::Hardware; 6]].concat());
        assert_eq!((moved.credit.used_after, moved.credit.cloud_used_after), (10, 4));
        let expected = Counters { reserved: 10, cloud_reserved: 4, ..Counters::default() };
        assert_eq!((moved.install.monthly, moved.install.lifetime), (expected, Counters::default()));
        let more = new(10, Plan::Pro, PRO).reserve(&moved.install, began());
        assert_eq!(more, Err(refused(CreditRefusal::OutOfCredits)));
    }

    #[test]
    fn without_hardware_nothing_runs_beyond_the_cap_of_the_cloud() {
        let full = Counters { consumed: 4, cloud_consumed: 3, cloud_reserved: 1, reserved: 1 };
        let install = Install { monthly: full, ..install().under(Plan::Pro, began()) };
        let without = NewCredit { has_hardware: false, ..new(1, Plan::Pro, PRO) };
        assert_eq!(
            without.reserve(&install, began()),
            Err(refused(CreditRefusal::CloudCapExceededNoHardware))
        );
        assert_eq!(
            new(1, Plan::Pro, PRO).reserve(&install, began()).unwrap().credit.backend,
            Backend::Hardware
        );
    }

    #[test]
    fn a_credit_ends_once_and_what_is_given_back_can_be_used_again() {
        let CreditMoved { credit, install: held } =
            new(1, Plan::Core, CORE).reserve(&install(), began()).unwrap();
        let committed = credit.commit(&held, began()).unwrap();
        let expected = Counters { consumed: 1, cloud_consumed: 1, ..Counters::default() };
        assert_eq!(committed.install.lifetime, expected);
        let released = credit.release(&held, began()).unwrap();
        assert_eq!(released.install, install());
        for ended in [committed, released] {
            let CreditMoved { credit, install } = ended;
            let state = credit.state.as_str();
            let error = CreditError::Ended { credit: credit.id, state };
            assert_eq!(credit.commit(&install, began()), Err(error));
            assert_eq!(credit.release(&install, began()), Err(error));
            assert_eq!(credit.expire(&install, began() + LEASE), Err(error));
            assert_eq!(credit.renew(began(), LEASE), Err(error));
        }
    }

    #[test]
    fn a_lease_protects_the_credit_until_it_runs_out() {
        let CreditMoved { credit, install: held } =
            new(1, Plan::Core, CORE).reserve(&install(), began()).unwrap();
        let renewed = credit.renew(began() + LEASE, LEASE).unwrap();
        assert_eq!(renewed.expire(&held, began() + LEASE), Err(CreditError::Live(credit.id)));
        let expired = renewed.expire(&held, began() + LEASE + LEASE).unwrap();
        assert_eq!(expired.install, install());
        assert_eq!(expired.credit.state, CreditState::Expired { late: None });
    }

    #[test]
    fn a_credit_of_an_earlier_period_leaves_the_next_one_alone() {
        let next = at("2027-02-28T12:00:00Z");
        let first = new(1, Plan::Pro, ONE).reserve(&install(), began()).unwrap();
        // The row has not been used since: the credit ends in the period that it was reserved in.
        let same = first.credit.commit(&first.install, next).unwrap().install;
        assert_eq!((same.period_start, same.monthly.used()), (began(), 1));
        // The row has been renewed by another request, so that there is nothing left to count.
        let second = new(2, Plan::Pro, ONE).reserve(&first.install, next).unwrap();
        assert_eq!((second.install.period_start, second.install.monthly.used()), (next, 1));
        assert_eq!(first.credit.commit(&second.install, next).unwrap().install, second.install);
        assert_eq!(first.credit.release(&second.install, next).unwrap().install, second.install);
        let expired = first.credit.expire(&second.install, next).unwrap();
        assert_eq!(expired.install, second.install);
        let late = expired.credit.commit(&second.install, next).unwrap();
        assert_eq!(
            (late.credit.state, late.install),
            (CreditState::Expired { late: Some(()) }, second.install)
        );
    }

    #[test]
    fn work_that_was_done_after_its_credit_expired_is_consumed_once_if_there_is_room() {
        let later = began() + LEASE;
        let held = new(1, Plan::Core, CORE).reserve(&install(), began()).unwrap();
        let expired = held.credit.expire(&held.install, later).unwrap();
        let late = expired.credit.commit(&expired.install, later).unwrap();
        assert_eq!((late.install.lifetime.consumed, late.install.lifetime.reserved), (1, 0));
        assert_eq!(late.credit.state, CreditState::Expired { late: Some(()) });
        let again = late.credit.commit(&late.install, later);
        assert!(matches!(again, Err(CreditError::Ended { state: "expired", .. })), "{again:?}");
    }

    #[test]
    fn work_that_was_done_late_consumes_nothing_if_the_quota_is_used_up() {
        let later = began() + LEASE;
        let held = new(1, Plan::Pro, PRO).reserve(&install(), began()).unwrap();
        let expired = held.credit.expire(&held.install, later).unwrap();
        let with = |monthly| Install { monthly, ..expired.install.clone() };
        let used_up = with(Counters { consumed: 9, reserved: 1, ..Counters::default() });
        assert_eq!(expired.credit.commit(&used_up, later), Err(refused(CreditRefusal::OutOfCredits)));
        let no_cloud = with(Counters { consumed: 4, cloud_consumed: 3, reserved: 1, cloud_reserved: 1 });
        let full = refused(CreditRefusal::CloudCapExceededNoHardware);
        assert_eq!(expired.credit.commit(&no_cloud, later), Err(full));
        let on_hardware = Credit { backend: Backend::Hardware, ..expired.credit };
        assert_eq!(on_hardware.commit(&no_cloud, later).unwrap().install.monthly.consumed, 5);
    }

    #[test]
    fn a_credit_is_not_ended_on_another_install() {
        let held = new(1, Plan::Core, CORE).reserve(&install(), began()).unwrap();
        let other = Install::new(InstallId::new(Uuid::max()), began());
        let error = CreditError::OtherInstall { credit: held.credit.id, install: other.id };
        assert_eq!(held.credit.commit(&other, began()), Err(error));
        assert_eq!(held.credit.release(&other, began()), Err(error));
        assert_eq!(held.credit.expire(&other, began() + LEASE), Err(error));
    }

    #[test]
    fn a_credit_of_the_moment_of_a_promotion_is_counted_once() {
        // Both credits say that their period began now.
        let core = Quota { counted: Counted::Monthly, ..CORE };
        let first = new(1, Plan::Core, core).reserve(&install(), began()).unwrap();
        let second = new(2, Plan::Pro, PRO).reserve(&first.install, began()).unwrap();
        assert_eq!(second.install.monthly.reserved, 2);
        let released = first.credit.release(&second.install, began()).unwrap();
        assert_eq!(released.install.monthly.reserved, 1);
    }

    #[test]
    fn the_time_of_use_never_goes_back() {
        let held = new(1, Plan::Core, CORE).reserve(&install(), began() + LEASE).unwrap();
        let earlier = new(2, Plan::Core, CORE).reserve(&held.install, began()).unwrap();
        assert_eq!(earlier.install.last_active_at, began() + LEASE);
    }
}
