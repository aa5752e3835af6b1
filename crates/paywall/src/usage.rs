//! What a key has spent, and what its limits leave.

use crate::{Limit, LimitReached, Period, UsageError};
use tithe_clock::Timestamp;
use tithe_money::Msats;

/// What a key has spent, and what running requests have reserved.
///
/// A request reserves its maximum cost, runs, and settles at its actual cost, or releases the reservation. It does so on
/// every key of its macaroon that has a limit, in one transaction.
///
/// The cost counts in the periods in which the request **settles**; until then, the reservation counts in every period.
/// A period's spend is therefore final when the period ends, and nothing has to be remembered about a reservation but
/// its amount. Since a reservation occupies its amount in every period that it lives in, no limit is exceeded in any
/// period, whether costs are counted in the period of the reservation or in that of the settlement.
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
    /// The latest time at which an amount was reserved or spent. The following three amounts are of the periods that
    /// contain it. `None` before the first.
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

    /// The most that requests which are running may cost besides what they have reserved. `None` if no limit is about spend. Limits on
    /// the number of requests have counted them already.
    #[must_use]
    pub fn available_to_running(
        &self,
        limits: impl IntoIterator<Item = Limit>,
        now: Timestamp,
    ) -> Option<Msats> {
        self.available(limits.into_iter().filter(|limit| !matches!(limit, Limit::Requests(_))), now)
    }

    /// What `limit` leaves; `None` if it leaves any amount.
    fn left(&self, limit: Limit, now: Timestamp) -> Option<Msats> {
        match limit {
            Limit::Total(limit) => Some(limit.saturating_sub(self.spent).saturating_sub(self.reserved)),
            Limit::Period(period, limit) => {
                Some(limit.saturating_sub(self.spent_in(period, now)).saturating_sub(self.reserved))
            }
            Limit::Requests(limit) => (!self.allows_request(limit)).then_some(Msats::ZERO),
        }
    }

    /// Returns true if another request is within `limit`. Running requests count.
    fn allows_request(&self, limit: u64) -> bool {
        self.requests.saturating_add(self.running) < limit
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
            Limit::Requests(limit) => {
                (!self.allows_request(limit)).then_some(LimitReached::Requests { limit })
            }
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

    /// Returns the usage after a request that had reserved `reserved` and cost `cost`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tithe_money::MoneyError;

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
        assert_eq!(usage.available(limits, now()), Some(Msats::ZERO), "there is no other request");
        assert_eq!(usage.available_to_running(limits, now()), Some(msats(40)));
        assert_eq!(usage.available_to_running([Limit::Requests(1)], now()), None);
        let usage = usage.extend(msats(40), limits, now()).unwrap();
        assert_eq!(usage.available_to_running(limits, now()), Some(Msats::ZERO));
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
}
