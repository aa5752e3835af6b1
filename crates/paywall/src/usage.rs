//! What a key has spent, and what its limits leave.

use crate::{Limit, Period};
use tithe_clock::Timestamp;
use tithe_money::{MoneyError, Msats};

/// What a key has spent, and what running requests have reserved.
///
/// A request reserves the most that it may cost, runs, and settles at what it did cost, or releases the reservation. It
/// does so on every key of its macaroon that has a limit, in one transaction.
///
/// The cost counts in the periods in which the request **settles**, and until then the reservation counts in whatever period it
/// is. A period's spend is therefore final when the period ends, and nothing has to be remembered about a
/// reservation but its amount. Since a reservation occupies its amount in every period that it lives in, no
/// limit is passed in any period, whether costs are counted in the period of the reservation or of the settlement.
///
/// If the clocks of servers differ, time doesn't go backwards here: what a server with a slow clock reserves or spends
/// counts in the periods that a faster clock has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct KeyUsage {
    /// The total spend.
    pub spent: Msats,
    /// The number of settled requests.
    pub requests: u64,
    /// The latest time at which an amount was reserved or spent, which says the periods of the following three amounts; `None` before the first.
    pub counted_at: Option<Timestamp>,
    /// The spend in the hour of `counted_at`.
    pub hour_spent: Msats,
    /// The spend on the day of `counted_at`.
    pub day_spent: Msats,
    /// The spend in the month of `counted_at`.
    pub month_spent: Msats,
    /// The amount reserved for running requests.
    pub reserved: Msats,
    /// The number of running requests.
    pub running: u64,
}

impl KeyUsage {
    /// The spend in the period that contains `now`.
    #[must_use]
    pub fn spent_in(&self, period: Period, now: Timestamp) -> Msats {
        let spent = match period {
            Period::Hour => self.hour_spent,
            Period::Day => self.day_spent,
            Period::Month => self.month_spent,
        };
        let is_current = |counted_at| period.start_of(counted_at) >= period.start_of(now);
        if self.counted_at.is_some_and(is_current) { spent } else { Msats::ZERO }
    }

    /// The most that the next request may cost, as far as the limits say: the least that any of them leaves. `None` if
    /// no limit is about spend. Zero also if no further request is allowed.
    #[must_use]
    pub fn available(&self, limits: impl IntoIterator<Item = Limit>, now: Timestamp) -> Option<Msats> {
        limits.into_iter().filter_map(|limit| self.left(limit, now)).min()
    }

    /// What `limit` leaves; `None` if it leaves any amount.
    fn left(&self, limit: Limit, now: Timestamp) -> Option<Msats> {
        match limit {
            Limit::Total(limit) => Some(limit.saturating_sub(self.spent).saturating_sub(self.reserved)),
            Limit::Period(period, limit) => {
                Some(limit.saturating_sub(self.spent_in(period, now)).saturating_sub(self.reserved))
            }
            Limit::Requests(limit) if self.requests.saturating_add(self.running) >= limit => {
                Some(Msats::ZERO)
            }
            Limit::Requests(_) => None,
        }
    }

    /// The reason why a request that may cost up to `amount` would be refused; `None` if the limits allow it.
    #[must_use]
    pub fn refusal(
        &self,
        amount: Msats,
        limits: impl IntoIterator<Item = Limit>,
        now: Timestamp,
    ) -> Option<LimitReached> {
        limits.into_iter().find_map(|limit| match limit {
            Limit::Requests(count) if self.requests.saturating_add(self.running) >= count => {
                Some(LimitReached::Requests { limit: count })
            }
            Limit::Requests(_) => None,
            Limit::Total(_) | Limit::Period(..) => self.spend_refusal(amount, limit, now),
        })
    }

    fn spend_refusal(&self, amount: Msats, limit: Limit, now: Timestamp) -> Option<LimitReached> {
        let retry_at = match limit {
            Limit::Requests(_) => return None,
            Limit::Period(period, limit) if amount <= limit => Some(period.end_of(self.time_after(now))),
            Limit::Total(_) | Limit::Period(..) => None,
        };
        let left = self.left(limit, now).filter(|left| amount > *left)?;
        Some(LimitReached::Spend { limit, left, amount, retry_at })
    }

    /// Returns the usage with `amount` reserved for a request that begins.
    ///
    /// # Errors
    /// [`UsageError::Limit`] if a limit doesn't allow the request. [`UsageError::Money`] or
    /// [`UsageError::TooManyRequests`] if a counter would overflow; so settling never does.
    pub fn reserve(
        &self,
        amount: Msats,
        limits: impl IntoIterator<Item = Limit>,
        now: Timestamp,
    ) -> Result<Self, UsageError> {
        if let Some(refusal) = self.refusal(amount, limits, now) {
            return Err(refusal.into());
        }
        let running = self.running.checked_add(1).ok_or(UsageError::TooManyRequests)?;
        self.requests.checked_add(running).ok_or(UsageError::TooManyRequests)?;
        Ok(Self { running, ..self.with_reserved(amount, now)? })
    }

    /// Returns the usage with `more` reserved for a request that is running, such as a stream that goes on. It doesn't
    /// count as another request.
    ///
    /// # Errors
    /// Those of [`reserve`](KeyUsage::reserve), and [`UsageError::NotReserved`] if no request is running.
    pub fn extend(
        &self,
        more: Msats,
        limits: impl IntoIterator<Item = Limit>,
        now: Timestamp,
    ) -> Result<Self, UsageError> {
        if self.running == 0 {
            return Err(UsageError::NotReserved { amount: more, reserved: self.reserved });
        }
        if let Some(refusal) = limits.into_iter().find_map(|limit| self.spend_refusal(more, limit, now)) {
            return Err(refusal.into());
        }
        self.with_reserved(more, now)
    }

    fn with_reserved(&self, amount: Msats, now: Timestamp) -> Result<Self, UsageError> {
        let reserved = self.reserved.checked_add(amount)?;
        self.spent.checked_add(reserved)?;
        if amount.is_zero() {
            return Ok(*self);
        }
        // The periods of the reservation begin, if they have not yet. A slower clock could otherwise settle it in an
        // earlier period, in which its amount was not available.
        Ok(Self { reserved, ..self.as_of(now) })
    }

    /// The same usage, in the periods that contain `now`, or in later ones that have begun already.
    fn as_of(&self, now: Timestamp) -> Self {
        let at = self.time_after(now);
        Self {
            counted_at: Some(at),
            hour_spent: self.spent_in(Period::Hour, at),
            day_spent: self.spent_in(Period::Day, at),
            month_spent: self.spent_in(Period::Month, at),
            ..*self
        }
    }

    /// Returns the usage after a request that had reserved `reserved` and did cost `cost`.
    ///
    /// # Errors
    /// [`UsageError::AboveReservation`] if `cost` exceeds the reservation; [`UsageError::NotReserved`] if there is no
    /// such reservation.
    pub fn settle(&self, reserved: Msats, cost: Msats, now: Timestamp) -> Result<Self, UsageError> {
        if cost > reserved {
            return Err(UsageError::AboveReservation { cost, reserved });
        }
        let requests = self.requests.checked_add(1).ok_or(UsageError::TooManyRequests)?;
        let usage = Self { requests, ..self.release(reserved)? };
        if cost.is_zero() {
            return Ok(usage);
        }
        let usage = usage.as_of(now);
        Ok(Self {
            spent: usage.spent.checked_add(cost)?,
            hour_spent: usage.hour_spent.checked_add(cost)?,
            day_spent: usage.day_spent.checked_add(cost)?,
            month_spent: usage.month_spent.checked_add(cost)?,
            ..usage
        })
    }

    /// Returns the usage after a request that had reserved `reserved` and doesn't count, because it failed.
    ///
    /// # Errors
    /// [`UsageError::NotReserved`] if there is no such reservation.
    pub fn release(&self, reserved: Msats) -> Result<Self, UsageError> {
        let not_reserved = UsageError::NotReserved { amount: reserved, reserved: self.reserved };
        let running = self.running.checked_sub(1).ok_or(not_reserved)?;
        let left = self.reserved.checked_sub(reserved).map_err(|_| not_reserved)?;
        // The last request takes its whole reservation along.
        if running == 0 && !left.is_zero() {
            return Err(not_reserved);
        }
        Ok(Self { reserved: left, running, ..*self })
    }

    /// Now, but not before the time at which an amount was last reserved or spent.
    fn time_after(&self, now: Timestamp) -> Timestamp {
        self.counted_at.map_or(now, |counted_at| counted_at.max(now))
    }
}

/// The limit that doesn't allow a request. Its `Display` may be shown to the key's holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitReached {
    /// Less is left of a limit on spend than the request may cost.
    #[error("spend limit reached: {amount} requested, {left} left of {limit}")]
    Spend {
        /// The limit.
        limit: Limit,
        /// The amount that is left of it.
        left: Msats,
        /// The amount that the request may cost.
        amount: Msats,
        /// The end of the period, if the limit is for a period and would allow the request in the next one. Running
        /// requests count in the next one as well.
        retry_at: Option<Timestamp>,
    },
    /// No requests are left.
    #[error("request limit reached: {limit} allowed")]
    Requests {
        /// The number of requests allowed.
        limit: u64,
    },
}

/// The reason why an operation on a [`KeyUsage`] is rejected. A rejected operation changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// A limit doesn't allow the request.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// A request can cost at most what it reserved.
    #[error("cost above the reservation: {cost} of {reserved}")]
    AboveReservation {
        /// The cost.
        cost: Msats,
        /// The amount that the request reserved.
        reserved: Msats,
    },
    /// There is no such reservation.
    #[error("no such reservation: {amount} of {reserved} reserved")]
    NotReserved {
        /// The amount that should have been reserved.
        amount: Msats,
        /// The amount that is reserved by all requests together.
        reserved: Msats,
    },
    /// The number of requests is out of range.
    #[error("too many requests: the counter is at its end")]
    TooManyRequests,
    /// An amount is out of range.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use proptest::prelude::*;
    use std::time::Duration;

    fn msats(n: u64) -> Msats {
        Msats::new(n).unwrap()
    }

    fn now() -> Timestamp {
        Timestamp::parse_rfc3339("2026-01-31T23:30:00Z").unwrap()
    }

    fn hourly(n: u64) -> [Limit; 1] {
        [Limit::Period(Period::Hour, msats(n))]
    }

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn a_request_reserves_and_settles_at_its_cost() {
        let limits = [Limit::Total(msats(100)), Limit::Requests(2)];
        let usage = KeyUsage::default();
        assert_eq!(usage.available(limits, now()), Some(msats(100)));
        let usage = usage.reserve(msats(60), limits, now()).unwrap();
        assert_eq!(usage.available(limits, now()), Some(msats(40)));
        let refused =
            LimitReached::Spend { limit: limits[0], left: msats(40), amount: msats(41), retry_at: None };
        assert_eq!(usage.reserve(msats(41), limits, now()), Err(refused.into()));
        assert_eq!(
            refused.to_string(),
            "spend limit reached: 41 msat requested, 40 msat left of 100 msat in total"
        );
        let usage = usage.settle(msats(60), msats(25), now()).unwrap();
        assert_eq!(
            (usage.spent, usage.requests, usage.reserved, usage.running),
            (msats(25), 1, Msats::ZERO, 0)
        );
        assert_eq!(usage.available(limits, now()), Some(msats(75)));
        let usage = usage.reserve(msats(75), limits, now()).unwrap();
        // The second request is running: there is no third.
        assert_eq!(usage.available(limits, now()), Some(Msats::ZERO));
        let refused = LimitReached::Requests { limit: 2 };
        assert_eq!(usage.refusal(Msats::ZERO, limits[1..].iter().copied(), now()), Some(refused));
        let usage = usage.release(msats(75)).unwrap();
        assert_eq!((usage.spent, usage.requests), (msats(25), 1));
        assert!(usage.reserve(msats(75), limits, now()).is_ok());
    }

    #[test]
    fn without_a_limit_on_spend_any_amount_is_available() {
        assert_eq!(KeyUsage::default().available(None, now()), None);
        assert_eq!(KeyUsage::default().available([Limit::Requests(1)], now()), None);
        assert_eq!(KeyUsage::default().available([Limit::Requests(0)], now()), Some(Msats::ZERO));
        assert_eq!(KeyUsage::default().refusal(Msats::MAX, None, now()), None);
    }

    #[test]
    fn each_period_has_its_own_spend() {
        let spend = |usage: KeyUsage, at| {
            usage.reserve(msats(10), None, at).unwrap().settle(msats(10), msats(10), at).unwrap()
        };
        let usage = spend(KeyUsage::default(), now());
        let usage = spend(usage, now() + MINUTE);
        let of = |usage: &KeyUsage, at| Period::ALL.map(|period| usage.spent_in(period, at).get());
        assert_eq!(of(&usage, now() + MINUTE * 29), [20, 20, 20]);
        // The next hour begins a day and a month too.
        assert_eq!(of(&usage, now() + MINUTE * 30), [0, 0, 0]);
        let usage = spend(usage, now() + MINUTE * 30);
        let usage = spend(usage, now() + MINUTE * 90);
        assert_eq!(of(&usage, now() + MINUTE * 90), [10, 20, 20]);
        assert_eq!(of(&usage, now() + MINUTE * 60 * 24), [0, 20, 20]);
        assert_eq!(of(&usage, now() + MINUTE * 60 * 25), [0, 0, 20]);
        assert_eq!((usage.spent, usage.requests), (msats(40), 4));
    }

    #[test]
    fn a_period_that_is_used_up_says_when_the_next_begins() {
        let usage = KeyUsage::default().reserve(msats(10), hourly(10), now()).unwrap();
        let usage = usage.settle(msats(10), msats(10), now()).unwrap();
        let retry_at = |amount| match usage.refusal(msats(amount), hourly(10), now()) {
            Some(LimitReached::Spend { retry_at, .. }) => retry_at,
            other => panic!("{other:?}"),
        };
        assert_eq!(retry_at(10), Some(now() + MINUTE * 30));
        assert!(usage.reserve(msats(10), hourly(10), now() + MINUTE * 30).is_ok());
        // No hour allows that much.
        assert_eq!(retry_at(11), None);
    }

    #[test]
    fn a_reservation_occupies_its_amount_in_every_period_until_it_ends() {
        let usage = KeyUsage::default().reserve(msats(60), hourly(100), now()).unwrap();
        let next = now() + MINUTE * 45;
        assert_eq!(usage.available(hourly(100), next), Some(msats(40)));
        let usage = usage.settle(msats(60), msats(50), next).unwrap();
        assert_eq!(
            (usage.spent_in(Period::Hour, next), usage.available(hourly(100), next)),
            (msats(50), Some(msats(50)))
        );
    }

    #[test]
    fn a_running_request_reserves_more_without_counting_again() {
        let limits = [Limit::Requests(1), Limit::Total(msats(100))];
        let usage = KeyUsage::default();
        let not_reserved = UsageError::NotReserved { amount: msats(1), reserved: Msats::ZERO };
        assert_eq!(usage.extend(msats(1), limits, now()), Err(not_reserved));
        let usage = usage.reserve(msats(60), limits, now()).unwrap();
        let usage = usage.extend(msats(40), limits, now()).unwrap();
        assert_eq!((usage.reserved, usage.running), (msats(100), 1));
        assert!(matches!(usage.extend(msats(1), limits, now()), Err(UsageError::Limit(_))));
        let usage = usage.settle(msats(100), msats(90), now()).unwrap();
        assert_eq!((usage.spent, usage.requests), (msats(90), 1));
    }

    #[test]
    fn a_request_costs_at_most_what_it_reserved() {
        let usage = KeyUsage::default().reserve(msats(10), None, now()).unwrap();
        let error = UsageError::AboveReservation { cost: msats(11), reserved: msats(10) };
        assert_eq!(usage.settle(msats(10), msats(11), now()), Err(error));
    }

    #[test]
    fn only_what_is_reserved_is_settled_or_released() {
        let usage = KeyUsage::default().reserve(msats(10), None, now()).unwrap();
        for amount in [9, 11] {
            let error = Err(UsageError::NotReserved { amount: msats(amount), reserved: msats(10) });
            assert_eq!(usage.release(msats(amount)), error);
            assert_eq!(usage.settle(msats(amount), Msats::ZERO, now()), error);
        }
        let ended = usage.release(msats(10)).unwrap();
        assert_eq!(ended, KeyUsage { counted_at: Some(now()), ..KeyUsage::default() });
        assert!(ended.release(Msats::ZERO).is_err());
    }

    #[test]
    fn counters_that_would_overflow_refuse_the_request_and_not_its_end() {
        let usage = KeyUsage { spent: msats(5), reserved: msats(3), running: 1, ..KeyUsage::default() };
        let rest = msats(Msats::MAX.get() - 8);
        let full = usage.reserve(rest, None, now()).unwrap();
        assert_eq!(full.reserve(msats(1), None, now()), Err(UsageError::Money(MoneyError::TooLarge)));
        let full = full.settle(rest, rest, now()).unwrap().settle(msats(3), msats(3), now()).unwrap();
        assert_eq!(full.spent, Msats::MAX);
        let usage = KeyUsage { requests: u64::MAX - 1, ..KeyUsage::default() };
        let last = usage.reserve(Msats::ZERO, None, now()).unwrap();
        assert_eq!(last.reserve(Msats::ZERO, None, now()), Err(UsageError::TooManyRequests));
        assert_eq!(last.settle(Msats::ZERO, Msats::ZERO, now()).unwrap().requests, u64::MAX);
    }

    #[test]
    fn a_clock_that_goes_back_opens_no_earlier_period() {
        let usage = KeyUsage::default().reserve(msats(100), hourly(100), now()).unwrap();
        let usage = usage.settle(msats(100), msats(100), now()).unwrap();
        let earlier = now() - MINUTE * 60;
        assert_eq!(usage.available(hourly(100), earlier), Some(Msats::ZERO));
        let refused = usage.refusal(msats(1), hourly(100), earlier).unwrap();
        assert!(
            matches!(refused, LimitReached::Spend { retry_at, .. } if retry_at == Some(now() + MINUTE * 30))
        );
        // A request that reserves nothing doesn't end the period for the servers whose clocks are behind.
        let fast = now() + MINUTE * 60;
        let usage =
            usage.reserve(Msats::ZERO, None, fast).unwrap().settle(Msats::ZERO, Msats::ZERO, fast).unwrap();
        assert_eq!(usage.available(hourly(100), now()), Some(Msats::ZERO));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_usage_and_its_limits_are_serialized() {
        let usage = KeyUsage::default().reserve(msats(9), None, now()).unwrap();
        let usage = usage.settle(msats(9), msats(7), now()).unwrap();
        let json = serde_json::to_string(&usage).unwrap();
        assert_eq!(serde_json::from_str::<KeyUsage>(&json).unwrap(), usage);
        let limits = [Limit::Period(Period::Day, msats(1)), Limit::Total(msats(2)), Limit::Requests(3)];
        let json = serde_json::to_string(&limits).unwrap();
        assert_eq!(json, r#"[{"period":["day",1]},{"total":2},{"requests":3}]"#);
        assert_eq!(serde_json::from_str::<[Limit; 3]>(&json).unwrap(), limits);
    }

    /// What happens to a key.
    #[derive(Debug, Clone)]
    enum Step {
        Reserve(u64),
        Extend(prop::sample::Index, u64),
        /// The request that settles, and its cost in percent of what it reserved.
        Settle(prop::sample::Index, u64),
        Release(prop::sample::Index),
        /// The time that passes, in minutes.
        Wait(i64),
    }

    fn steps(wait: impl Strategy<Value = i64> + 'static) -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0_u64..400).prop_map(Step::Reserve),
            1 => (any::<prop::sample::Index>(), 0_u64..200).prop_map(|(of, more)| Step::Extend(of, more)),
            3 => (any::<prop::sample::Index>(), 0_u64..=100).prop_map(|(of, percent)| Step::Settle(of, percent)),
            1 => any::<prop::sample::Index>().prop_map(Step::Release),
            2 => wait.prop_map(Step::Wait),
        ];
        prop::collection::vec(step, 0..80)
    }

    /// A request as the naive model keeps it: with everything that happened to it.
    #[derive(Debug, Clone)]
    struct Request {
        /// When it reserved, and how much. What was reserved first is spent first.
        reserved: Vec<(Timestamp, u64)>,
        /// When it settled, and its cost.
        settled: Option<(Timestamp, u64)>,
    }

    /// The naive model: all requests, added up anew each time.
    #[derive(Default)]
    struct Naive {
        running: Vec<Request>,
        settled: Vec<Request>,
    }

    impl Request {
        fn all_reserved(&self) -> u64 {
            self.reserved.iter().map(|(_, amount)| amount).sum()
        }

        fn cost(&self) -> u64 {
            self.settled.map_or(0, |(_, cost)| cost)
        }

        /// The part of the cost that was reserved in the period that contains `at`.
        fn cost_reserved_in(&self, period: Period, at: Timestamp) -> u64 {
            let (mut left, mut in_period) = (self.cost(), 0);
            for (then, amount) in &self.reserved {
                let part = left.min(*amount);
                left -= part;
                in_period += if period.start_of(*then) == period.start_of(at) { part } else { 0 };
            }
            in_period
        }
    }

    impl Naive {
        /// The costs that were settled in the period that contains `at`.
        fn settled_in(&self, period: Period, at: Timestamp) -> u64 {
            let is_in = |request: &&Request| {
                request.settled.is_some_and(|(then, _)| period.start_of(then) == period.start_of(at))
            };
            self.settled.iter().filter(is_in).map(Request::cost).sum()
        }

        /// The costs that were reserved in the period that contains `at`.
        fn reserved_in(&self, period: Period, at: Timestamp) -> u64 {
            self.settled.iter().map(|request| request.cost_reserved_in(period, at)).sum()
        }

        fn total(&self) -> u64 {
            self.settled.iter().map(Request::cost).sum()
        }

        fn reserved(&self) -> u64 {
            self.running.iter().map(Request::all_reserved).sum()
        }

        fn allows(&self, amount: u64, limit: Limit, now: Timestamp) -> bool {
            match limit {
                Limit::Total(limit) => self.total() + self.reserved() + amount <= limit.get(),
                Limit::Period(period, limit) => {
                    self.settled_in(period, now) + self.reserved() + amount <= limit.get()
                }
                Limit::Requests(limit) => {
                    u64::try_from(self.settled.len() + self.running.len()).unwrap() < limit
                }
            }
        }

        /// No limit is passed in any period.
        fn check(&self, limit: Limit) {
            match limit {
                Limit::Total(limit) => assert!(self.total() <= limit.get()),
                Limit::Requests(limit) => assert!(self.settled.len() <= usize::try_from(limit).unwrap()),
                Limit::Period(period, limit) => {
                    for request in &self.settled {
                        let (settled_at, _) = request.settled.unwrap();
                        assert!(self.settled_in(period, settled_at) <= limit.get());
                        for (reserved_at, _) in &request.reserved {
                            assert!(self.reserved_in(period, *reserved_at) <= limit.get());
                        }
                    }
                }
            }
        }
    }

    /// Runs the steps against the naive model.
    fn run(limits: &[Limit], steps: Vec<Step>) {
        let (mut usage, mut naive, mut now) = (KeyUsage::default(), Naive::default(), now());
        let limits = || limits.iter().copied();
        for step in steps {
            // With clocks that differ, nothing counts earlier than what was counted last.
            let at = usage.counted_at.map_or(now, |counted_at| counted_at.max(now));
            match step {
                Step::Wait(minutes) if minutes < 0 => now = now - MINUTE * u32::try_from(-minutes).unwrap(),
                Step::Wait(minutes) => now = now + MINUTE * u32::try_from(minutes).unwrap(),
                Step::Reserve(amount) => {
                    let reserved = usage.reserve(msats(amount), limits(), now);
                    let is_allowed = limits().all(|limit| naive.allows(amount, limit, at));
                    assert_eq!(reserved.is_ok(), is_allowed, "{reserved:?}");
                    if let Some(available) = usage.available(limits(), now) {
                        assert!(msats(amount) <= available || !is_allowed);
                    }
                    if let Ok(reserved) = reserved {
                        usage = reserved;
                        naive.running.push(Request { reserved: vec![(at, amount)], settled: None });
                    }
                }
                Step::Extend(..) | Step::Settle(..) | Step::Release(_) if naive.running.is_empty() => {}
                Step::Extend(of, more) => {
                    let spend = limits().filter(|limit| !matches!(limit, Limit::Requests(_)));
                    let extended = usage.extend(msats(more), limits(), now);
                    assert_eq!(
                        extended.is_ok(),
                        spend.into_iter().all(|limit| naive.allows(more, limit, at))
                    );
                    if let Ok(extended) = extended {
                        usage = extended;
                        of.get_mut(&mut naive.running).reserved.push((at, more));
                    }
                }
                Step::Settle(of, percent) => {
                    let request = naive.running.remove(of.index(naive.running.len()));
                    let reserved = request.all_reserved();
                    let cost = reserved * percent / 100;
                    usage = usage.settle(msats(reserved), msats(cost), now).unwrap();
                    naive.settled.push(Request { settled: Some((at, cost)), ..request });
                }
                Step::Release(of) => {
                    let request = naive.running.remove(of.index(naive.running.len()));
                    usage = usage.release(msats(request.all_reserved())).unwrap();
                }
            }
            limits().for_each(|limit| naive.check(limit));
            assert_eq!((usage.spent.get(), usage.reserved.get()), (naive.total(), naive.reserved()));
            assert_eq!(usage.requests, u64::try_from(naive.settled.len()).unwrap());
            assert_eq!(usage.running, u64::try_from(naive.running.len()).unwrap());
            let at = usage.counted_at.map_or(now, |counted_at| counted_at.max(now));
            for period in Period::ALL {
                assert_eq!(usage.spent_in(period, at).get(), naive.settled_in(period, at), "{period}");
            }
        }
    }

    fn limits() -> impl Strategy<Value = Vec<Limit>> {
        prop::collection::vec(testing::limit(1_000), 0..4)
    }

    fn minutes() -> impl Strategy<Value = i64> {
        prop_oneof![0_i64..40, 0_i64..2_000, 0_i64..60_000]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn no_limit_is_passed_in_any_period_by_either_accounting(limits in limits(), steps in steps(minutes())) {
            run(&limits, steps);
        }

        /// The clocks of the servers differ.
        #[test]
        fn no_limit_is_passed_with_clocks_that_differ(
            limits in limits(), steps in steps(prop_oneof![minutes(), -100_i64..0]),
        ) {
            run(&limits, steps);
        }
    }
}
