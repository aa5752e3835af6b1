//! What the naive reference keeps of installs: the installs, and every request of theirs.

use super::calendar::{day_of_month, period_end};
use tithe_ledger::credits::{Counted, InstallId, Plan, Quota};

/// An install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefInstall {
    pub(super) plan: Plan,
    /// The day of the month on which its periods begin.
    pub(super) anchor: i128,
    /// When its current period began.
    pub(super) period: i128,
    /// What was used elsewhere, before it was imported, and in which period; `None` means in no period.
    pub(super) elsewhere: Vec<(Option<i128>, Used)>,
    pub(super) active: i128,
    pub(super) created: i128,
}

/// How many requests were done and are running, and how many of each in the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Used {
    pub(super) done: (u64, u64),
    pub(super) running: (u64, u64),
}

impl Used {
    pub(super) const fn all(&self) -> u64 {
        self.done.0 + self.running.0
    }

    pub(super) const fn cloud(&self) -> u64 {
        self.done.1 + self.running.1
    }
}

/// The fate of a credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CreditFate {
    HeldUntil(i128),
    Taken,
    Released,
    Expired,
    TakenLate,
}

/// A request of an install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefCredit {
    pub(super) install: InstallId,
    pub(super) plan: Plan,
    pub(super) quota: Quota,
    pub(super) period: i128,
    pub(super) cloud: bool,
    /// What was used with it, and what of that in the cloud.
    pub(super) after: (u64, u64),
    pub(super) fate: CreditFate,
    pub(super) created: i128,
    pub(super) updated: i128,
}

impl RefCredit {
    /// The period that it counts in; `None` means that it counts for ever.
    pub(super) fn scope(&self) -> Option<i128> {
        (self.quota.counted == Counted::Monthly).then_some(self.period)
    }
}

/// What an install has left: requests, requests in the cloud, since when, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) requests: Option<u64>,
    pub(super) cloud: Option<u64>,
    pub(super) since: i128,
    pub(super) until: Option<i128>,
}

impl RefInstall {
    pub(super) fn new(now: i128) -> Self {
        let (plan, elsewhere) = (Plan::Core, Vec::new());
        Self { plan, anchor: day_of_month(now), period: now, elsewhere, active: now, created: now }
    }

    /// The install as a request of `plan` finds it.
    pub(super) fn at(&self, plan: Plan, now: i128) -> Self {
        let mut install = self.clone();
        let is_paid = |plan| plan != Plan::Core;
        if is_paid(plan) && !is_paid(self.plan) {
            // It pays for the first time: its months begin now.
            install.period = self.period.max(now);
            install.anchor = day_of_month(install.period);
        } else {
            while period_end(install.period, install.anchor) <= now {
                install.period = period_end(install.period, install.anchor);
            }
        }
        if is_paid(plan) {
            install.plan = plan;
        }
        install
    }
}
