//! A naive model of install credits: it keeps all credits ever reserved and counts them when it is asked.

use time::{Date, Month, OffsetDateTime};
use tithe_clock::Timestamp;
use tithe_ledger::credits::{Backend, Counted, Counters, CreditRefusal, Plan, Quota};

/// How a credit of the model stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Running { until: Timestamp },
    Done,
    GivenBack,
    Expired,
    DoneLate,
}

/// A credit of the model.
#[derive(Debug, Clone, Copy)]
pub struct ModelCredit {
    pub install: usize,
    pub quota: Quota,
    /// The number of the install's period.
    period: usize,
    pub is_cloud: bool,
    pub fate: Fate,
}

impl ModelCredit {
    const fn is_used(&self) -> bool {
        matches!(self.fate, Fate::Running { .. } | Fate::Done | Fate::DoneLate)
    }
}

/// An install of the model: when its first paid plan (before that, the install itself) began, and how its periods went on.
#[derive(Debug, Clone, Copy)]
pub struct ModelInstall {
    began: Timestamp,
    /// How many renewals have passed since it began.
    renewals: usize,
    /// How many periods there have been altogether.
    period: usize,
    pub is_paid: bool,
}

/// All installs and credits.
#[derive(Debug, Default)]
pub struct Model {
    installs: std::collections::BTreeMap<usize, ModelInstall>,
    pub credits: Vec<ModelCredit>,
}

/// So many months after a moment, or on the last day of that month if it is shorter.
fn months_after(began: Timestamp, months: usize) -> Timestamp {
    let began = began.to_offset_date_time();
    let (mut year, mut month) = (began.year(), began.month());
    for _ in 0..months {
        month = month.next();
        year += i32::from(month == Month::January);
    }
    let date = (1..=began.day()).rev().find_map(|day| Date::from_calendar_date(year, month, day).ok());
    Timestamp::from_offset_date_time(OffsetDateTime::new_utc(date.unwrap(), began.time()))
}

impl ModelInstall {
    const fn new(now: Timestamp) -> Self {
        Self { began: now, renewals: 0, period: 0, is_paid: false }
    }

    /// When its current period began.
    pub fn period_start(&self) -> Timestamp {
        months_after(self.began, self.renewals)
    }

    fn under(mut self, plan: Plan, now: Timestamp) -> Self {
        if plan != Plan::Core && !self.is_paid {
            self.is_paid = true;
            let start = self.period_start();
            if now > start {
                (self.began, self.renewals, self.period) = (now, 0, self.period + 1);
            } else {
                (self.began, self.renewals) = (start, 0);
            }
        }
        while months_after(self.began, self.renewals + 1) <= now {
            (self.renewals, self.period) = (self.renewals + 1, self.period + 1);
        }
        self
    }
}

impl Model {
    pub fn install(&self, n: usize, now: Timestamp) -> ModelInstall {
        self.installs.get(&n).copied().unwrap_or_else(|| ModelInstall::new(now))
    }

    /// What the credits say of an install's counters, without what was consumed before.
    pub fn counters(&self, n: usize, counted: Counted) -> Counters {
        self.installs.get(&n).map_or_else(Counters::default, |install| self.count(n, install, counted))
    }

    fn count(&self, n: usize, install: &ModelInstall, counted: Counted) -> Counters {
        let mut found = Counters::default();
        for credit in self.credits.iter().filter(|credit| credit.install == n && credit.is_used()) {
            if credit.quota.counted != counted
                || (counted == Counted::Monthly && credit.period != install.period)
            {
                continue;
            }
            let (all, cloud) = match credit.fate {
                Fate::Running { .. } => (&mut found.reserved, &mut found.cloud_reserved),
                _ => (&mut found.consumed, &mut found.cloud_consumed),
            };
            *all += 1;
            *cloud += u64::from(credit.is_cloud);
        }
        found
    }

    /// What is left of the quota, and of its part in the cloud; `None` for any number.
    pub fn left(&self, n: usize, plan: Plan, quota: &Quota, now: Timestamp) -> (Option<u64>, Option<u64>) {
        let used = self.count(n, &self.install(n, now).under(plan, now), quota.counted);
        let all = quota.requests.map(|most| most.saturating_sub(used.consumed + used.reserved));
        let cloud = quota.cloud.map(|most| most.saturating_sub(used.cloud_consumed + used.cloud_reserved));
        (all, cloud.map(|cloud| all.map_or(cloud, |all| all.min(cloud))))
    }

    pub fn reserve(
        &mut self,
        n: usize,
        (plan, quota): (Plan, Quota),
        has_hardware: bool,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Backend, CreditRefusal> {
        let backend = match self.left(n, plan, &quota, now) {
            (Some(0), _) => return Err(CreditRefusal::OutOfCredits),
            (_, Some(0)) if !has_hardware => return Err(CreditRefusal::CloudCapExceededNoHardware),
            (_, Some(0)) => Backend::Hardware,
            _ => Backend::Cloud,
        };
        let install = self.install(n, now).under(plan, now);
        self.installs.insert(n, install);
        let is_cloud = backend == Backend::Cloud;
        let (period, fate) = (install.period, Fate::Running { until });
        self.credits.push(ModelCredit { install: n, quota, period, is_cloud, fate });
        Ok(backend)
    }

    /// Whether the work of this credit may be consumed now.
    pub fn may_commit(&self, credit: usize) -> bool {
        let credit = self.credits[credit];
        match credit.fate {
            Fate::Running { .. } => true,
            Fate::Expired => {
                let install = &self.installs[&credit.install];
                let used = self.count(credit.install, install, credit.quota.counted);
                let is_over = credit.quota.counted == Counted::Monthly && credit.period != install.period;
                let has_room = credit.quota.requests.is_none_or(|most| used.used() < most)
                    && (!credit.is_cloud || credit.quota.cloud.is_none_or(|most| used.cloud_used() < most));
                is_over || has_room
            }
            Fate::Done | Fate::DoneLate | Fate::GivenBack => false,
        }
    }
}
