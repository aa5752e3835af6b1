//! An install: its plan, what it has used, and where its next request goes.

use super::{Anchor, Counted, CreditRefusal, InstallId, Plan, Quota};
use std::fmt;
use std::str::FromStr;
use tithe_clock::Timestamp;

/// How many requests were used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Counters {
    /// Requests that were done.
    pub consumed: u64,
    /// Those of them that the cloud did.
    pub cloud_consumed: u64,
    /// Requests that are reserved: they run.
    pub reserved: u64,
    /// Those of them that are reserved for the cloud.
    pub cloud_reserved: u64,
}

impl Counters {
    /// What is used, with what is reserved.
    #[must_use]
    pub const fn used(&self) -> u64 {
        self.consumed.saturating_add(self.reserved)
    }

    /// What is used of the cloud, with what is reserved.
    #[must_use]
    pub const fn cloud_used(&self) -> u64 {
        self.cloud_consumed.saturating_add(self.cloud_reserved)
    }
}

/// Where a request runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Backend {
    /// A hosted model.
    Cloud,
    /// The operator's own machine.
    Hardware,
}

/// The text is not the name of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown backend: expected cloud or hardware")]
pub struct UnknownBackend;

impl Backend {
    /// The name used by the stores and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Hardware => "hardware",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Backend {
    type Err = UnknownBackend;
    fn from_str(text: &str) -> Result<Self, UnknownBackend> {
        match text {
            "cloud" => Ok(Self::Cloud),
            "hardware" => Ok(Self::Hardware),
            _ => Err(UnknownBackend),
        }
    }
}

/// One installation of an app: the row that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Install {
    /// The install's id.
    pub id: InstallId,
    /// The plan that its periods belong to: the last paid plan that was proven, or `core` before the first. It is a snapshot; what
    /// a request may use follows from the plan that it proves.
    pub plan: Plan,
    /// The day of the month on which its periods begin, from 1 to 31.
    pub anchor_day: u8,
    /// When the period began that `monthly` counts. Its time of day is that of all renewals.
    pub period_start: Timestamp,
    /// What was used of quotas that are never renewed.
    pub lifetime: Counters,
    /// What was used of monthly quotas since `period_start`.
    pub monthly: Counters,
    /// When it last used a credit.
    pub last_active_at: Timestamp,
    /// When it was first seen.
    pub created_at: Timestamp,
}

/// What an install has left under one plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// The plan.
    pub plan: Plan,
    /// What the plan includes.
    pub quota: Quota,
    /// How many requests are left; `None` means any number.
    pub remaining: Option<u64>,
    /// How many of them may go to the cloud; `None` means any number of them.
    pub cloud_remaining: Option<u64>,
    /// When the current period began.
    pub period_start: Timestamp,
    /// When it is renewed; `None` if nothing is.
    pub renews_at: Option<Timestamp>,
}

/// Where the next request goes: to the cloud while there is room under its cap, then to hardware.
///
/// # Errors
/// [`CreditRefusal::OutOfCredits`] if nothing is left, [`CreditRefusal::CloudCapExceededNoHardware`] if nothing is left in the cloud
/// and there is no hardware.
pub const fn plan_backend(balance: &Balance, has_hardware: bool) -> Result<Backend, CreditRefusal> {
    match (balance.remaining, balance.cloud_remaining) {
        (Some(0), _) => Err(CreditRefusal::OutOfCredits),
        (_, Some(0)) if has_hardware => Ok(Backend::Hardware),
        (_, Some(0)) => Err(CreditRefusal::CloudCapExceededNoHardware),
        _ => Ok(Backend::Cloud),
    }
}

impl Install {
    /// An install that is seen for the first time.
    #[must_use]
    pub fn new(id: InstallId, now: Timestamp) -> Self {
        Self {
            id,
            plan: Plan::Core,
            anchor_day: Anchor::at(now).day(),
            period_start: now,
            lifetime: Counters::default(),
            monthly: Counters::default(),
            last_active_at: now,
            created_at: now,
        }
    }

    /// What its periods derive from.
    #[must_use]
    pub fn anchor(&self) -> Anchor {
        Anchor::on_day(self.anchor_day.into(), self.period_start)
            .unwrap_or_else(|_invalid| Anchor::at(self.period_start))
    }

    /// The install in the period that `now` is in, however many periods have passed. A clock that goes back changes nothing.
    #[must_use]
    pub fn rolled_over(&self, now: Timestamp) -> Self {
        let start = self.anchor().period_at(now).start;
        if start <= self.period_start {
            return self.clone();
        }
        Self { period_start: start, monthly: Counters::default(), ..self.clone() }
    }

    /// The install as it is for a request that proves `plan`, in the period that `now` is in.
    ///
    /// The first paid plan begins now: a new anchor, and nothing used of it. Every later change of plan keeps the anchor and what was
    /// used: otherwise, an install could renew its quota by going back to `core` for one request.
    ///
    /// A clock that has gone back does not make a period begin before an earlier one, because credits name their period by its
    /// beginning.
    #[must_use]
    pub fn under(&self, plan: Plan, now: Timestamp) -> Self {
        if plan.is_paid() && !self.plan.is_paid() {
            let began = now.max(self.period_start);
            let monthly = if began == self.period_start { self.monthly } else { Counters::default() };
            return Self {
                plan,
                anchor_day: Anchor::at(began).day(),
                period_start: began,
                monthly,
                ..self.clone()
            };
        }
        let rolled = self.rolled_over(now);
        // Without its licence, an install is served as `core`; its paid periods go on.
        if plan.is_paid() { Self { plan, ..rolled } } else { rolled }
    }

    /// How many of its requests are running.
    #[must_use]
    pub const fn running(&self) -> u64 {
        self.lifetime.reserved.saturating_add(self.monthly.reserved)
    }

    /// What is used of a quota that counts so.
    #[must_use]
    pub const fn counters(&self, counted: Counted) -> &Counters {
        match counted {
            Counted::Lifetime => &self.lifetime,
            Counted::Monthly => &self.monthly,
        }
    }

    /// What the install has left for requests that prove `plan`. It changes nothing, and an install that was never seen has all of it
    /// ([`Install::new`]).
    #[must_use]
    pub fn balance(&self, plan: Plan, quota: &Quota, now: Timestamp) -> Balance {
        let install = self.under(plan, now);
        let counters = install.counters(quota.counted);
        let remaining = quota.requests.map(|most| most.saturating_sub(counters.used()));
        let cloud = quota.cloud.map(|most| most.saturating_sub(counters.cloud_used()));
        let renews = quota.counted == Counted::Monthly;
        Balance {
            plan,
            quota: *quota,
            remaining,
            cloud_remaining: cloud.map(|cloud| remaining.map_or(cloud, |remaining| cloud.min(remaining))),
            period_start: install.period_start,
            renews_at: renews.then(|| install.anchor().next_renewal(now.max(install.period_start))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const PRO: Quota = Quota { counted: Counted::Monthly, requests: Some(10), cloud: Some(4) };
    const CORE: Quota = Quota { counted: Counted::Lifetime, requests: Some(5), cloud: None };
    const UNLIMITED: Quota = Quota { counted: Counted::Monthly, requests: None, cloud: None };

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn used(consumed: u64, cloud_consumed: u64) -> Counters {
        Counters { consumed, cloud_consumed, ..Counters::default() }
    }

    fn install(now: Timestamp) -> Install {
        Install::new("0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10".parse().unwrap(), now)
    }

    /// An install that became `pro` on 31 January and has used a part of its quotas.
    fn pro() -> Install {
        let began = at("2027-01-31T12:00:00Z");
        Install { monthly: used(7, 4), lifetime: used(3, 3), ..install(began).under(Plan::Pro, began) }
    }

    #[test]
    fn a_period_that_is_not_over_is_kept() {
        let pro = pro();
        assert_eq!(pro.rolled_over(pro.period_start), pro);
        assert_eq!(pro.rolled_over(at("2027-02-28T11:59:59.999999Z")), pro);
    }

    #[test]
    fn a_period_that_is_over_is_renewed_and_the_lifetime_is_kept() {
        let renewed = pro().rolled_over(at("2027-02-28T12:00:00Z"));
        let expected =
            Install { period_start: at("2027-02-28T12:00:00Z"), monthly: Counters::default(), ..pro() };
        assert_eq!(renewed, expected);
        assert_eq!((renewed.anchor_day, renewed.lifetime), (31, used(3, 3)));
    }

    #[test]
    fn a_dormant_install_skips_the_periods_that_passed() {
        let returned = pro().rolled_over(at("2029-06-15T00:00:00Z"));
        assert_eq!(returned.period_start, at("2029-05-31T12:00:00Z"));
        assert_eq!((returned.anchor_day, returned.monthly), (31, Counters::default()));
        // Whether it was seen in between makes no difference.
        let seen = ["2027-02-28T12:00:00Z", "2027-03-30T00:00:00Z", "2028-02-29T13:00:00Z"];
        let step_by_step = seen.into_iter().fold(pro(), |install, seen| install.rolled_over(at(seen)));
        assert_eq!(step_by_step.rolled_over(at("2029-06-15T00:00:00Z")), returned);
    }

    #[test]
    fn the_first_paid_plan_begins_now_with_nothing_used_of_it() {
        let seen = at("2026-11-05T08:00:00Z");
        let core = Install { lifetime: used(5, 2), monthly: used(9, 9), ..install(seen) };
        let now = at("2027-01-31T12:00:00Z");
        let promoted = core.under(Plan::Pro, now);
        let expected = Install {
            plan: Plan::Pro,
            anchor_day: 31,
            period_start: now,
            monthly: Counters::default(),
            ..core.clone()
        };
        assert_eq!(promoted, expected);
        let balance = core.balance(Plan::Pro, &PRO, now);
        assert_eq!((balance.remaining, balance.cloud_remaining), (Some(10), Some(4)));
        assert_eq!((balance.period_start, balance.renews_at), (now, Some(at("2027-02-28T12:00:00Z"))));
    }

    #[test]
    fn going_back_to_core_and_being_promoted_again_renews_nothing() {
        let later = at("2027-02-10T00:00:00Z");
        let as_core = pro().under(Plan::Core, later);
        assert_eq!(as_core, pro());
        assert_eq!(as_core.balance(Plan::Core, &CORE, later).remaining, Some(2));
        let promoted = as_core.under(Plan::Pro, later + Duration::from_hours(1));
        assert_eq!(promoted, pro());
        // While it has no licence, its periods go on.
        let next = pro().under(Plan::Core, at("2027-03-01T00:00:00Z"));
        assert_eq!((next.plan, next.period_start), (Plan::Pro, at("2027-02-28T12:00:00Z")));
    }

    #[test]
    fn another_paid_plan_keeps_the_anchor_and_what_was_used() {
        let later = at("2027-02-10T00:00:00Z");
        let max = pro().under(Plan::Max, later);
        assert_eq!(max, Install { plan: Plan::Max, ..pro() });
        assert_eq!(max.balance(Plan::Max, &UNLIMITED, later).remaining, None);
        assert_eq!(max.under(Plan::Pro, later), pro());
        assert_eq!(max.balance(Plan::Pro, &PRO, later).remaining, Some(3));
    }

    #[test]
    fn a_clock_that_goes_back_changes_nothing() {
        let before = at("2026-12-01T00:00:00Z");
        assert_eq!(pro().rolled_over(before), pro());
        assert_eq!(pro().under(Plan::Pro, before), pro());
        let balance = pro().balance(Plan::Pro, &PRO, before);
        assert_eq!((balance.remaining, balance.renews_at), (Some(3), Some(at("2027-02-28T12:00:00Z"))));
        // Nor does it begin a period before the one that the credits so far are counted in.
        let core = Install { monthly: used(2, 1), ..install(at("2027-01-31T12:00:00Z")) };
        let promoted = core.under(Plan::Pro, before);
        assert_eq!(promoted, Install { plan: Plan::Pro, ..core });
    }

    #[test]
    fn a_quota_that_is_lowered_below_what_is_used_leaves_nothing() {
        let now = at("2027-02-10T00:00:00Z");
        let lowered = Quota { requests: Some(6), cloud: Some(1), ..PRO };
        let balance = pro().balance(Plan::Pro, &lowered, now);
        assert_eq!((balance.remaining, balance.cloud_remaining), (Some(0), Some(0)));
        assert_eq!(plan_backend(&balance, true), Err(CreditRefusal::OutOfCredits));
        let capped = Quota { cloud: Some(1), ..PRO };
        let balance = pro().balance(Plan::Pro, &capped, now);
        assert_eq!((balance.remaining, balance.cloud_remaining), (Some(3), Some(0)));
        assert_eq!(plan_backend(&balance, true), Ok(Backend::Hardware));
    }

    #[test]
    fn what_is_reserved_counts_as_used() {
        let running = Counters { consumed: 7, cloud_consumed: 2, reserved: 2, cloud_reserved: 1 };
        let busy = Install { monthly: running, ..pro() };
        let balance = busy.balance(Plan::Pro, &PRO, busy.period_start);
        assert_eq!((balance.remaining, balance.cloud_remaining), (Some(1), Some(1)));
    }

    #[test]
    fn no_more_is_left_in_the_cloud_than_altogether() {
        let install = Install { monthly: used(9, 0), ..pro() };
        let balance = install.balance(Plan::Pro, &PRO, install.period_start);
        assert_eq!((balance.remaining, balance.cloud_remaining), (Some(1), Some(1)));
    }

    #[test]
    fn a_quota_without_end_is_never_used_up() {
        let install = Install { monthly: used(u64::MAX, u64::MAX), ..pro() };
        let balance = install.balance(Plan::Max, &UNLIMITED, install.period_start);
        assert_eq!((balance.remaining, balance.cloud_remaining), (None, None));
        assert_eq!(plan_backend(&balance, false), Ok(Backend::Cloud));
        let capped = Quota { cloud: Some(5), ..UNLIMITED };
        let balance = install.balance(Plan::Max, &capped, install.period_start);
        assert_eq!((balance.remaining, balance.cloud_remaining), (None, Some(0)));
        assert_eq!(plan_backend(&balance, true), Ok(Backend::Hardware));
        assert_eq!(plan_backend(&balance, false), Err(CreditRefusal::CloudCapExceededNoHardware));
    }

    #[test]
    fn a_quota_for_life_is_never_renewed() {
        let seen = at("2027-01-31T12:00:00Z");
        let core = Install { lifetime: used(5, 5), ..install(seen) };
        let balance = core.balance(Plan::Core, &CORE, at("2037-01-01T00:00:00Z"));
        assert_eq!((balance.remaining, balance.renews_at), (Some(0), None));
        assert_eq!(plan_backend(&balance, true), Err(CreditRefusal::OutOfCredits));
    }
}
