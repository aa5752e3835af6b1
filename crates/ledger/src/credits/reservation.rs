//! Reservations of credits: a credit is reserved before the work starts, and committed, released or expired exactly once.

use super::install::plan_backend;
use super::refusal::CreditError;
use super::{Backend, Counted, Counters, Install, InstallId, Plan, Quota};
use crate::lifecycle::Lifecycle;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tithe_clock::Timestamp;
use uuid::Uuid;

/// The id of a credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CreditId(pub Uuid);

impl fmt::Display for CreditId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CreditId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

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
