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
    #[must_use]
    pub fn under(&self, plan: Plan, now: Timestamp) -> Self {
        if plan.is_paid() && !self.plan.is_paid() {
            return Self {
                plan,
                anchor_day: Anchor::at(now).day(),
                period_start: now,
                monthly: Counters::default(),
                ..self.clone()
            };
        }
        let rolled = self.rolled_over(now);
        // Without its licence, an install is served as `core`; its paid periods go on.
        if plan.is_paid() { Self { plan, ..rolled } } else { rolled }
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
