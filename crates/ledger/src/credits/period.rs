//! Monthly periods that tile time.

use std::fmt;
use time::{Date, Month, OffsetDateTime, Time};
use tithe_clock::Timestamp;

/// What all periods of an install derive from: the day of the month and the time of day (UTC) at which its plan began.
///
/// A period begins on that day of each month; in a shorter month, on its last day. The day is never taken from the previous
/// renewal, so 31 January is followed by 28 or 29 February and that by 31 March. Periods are half-open: each one ends at the very moment at
/// which the next one begins, so that every moment is in exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    day: u8,
    time: Time,
}

/// A day of the month is not from 1 to 31.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid day of the month: expected 1 to 31, got {0}")]
pub struct InvalidAnchorDay(pub u64);

/// One period, from `start` (included) to `end` (not included).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// When it begins.
    pub start: Timestamp,
    /// When the next one begins.
    pub end: Timestamp,
}

impl Period {
    /// Whether a moment is in this period.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }
}

impl Anchor {
    /// The anchor of a plan that began at this moment.
    #[must_use]
    pub fn at(began: Timestamp) -> Self {
        let began = began.to_offset_date_time();
        Self { day: began.day(), time: began.time() }
    }

    /// The anchor on this day of the month, at the time of day of `at`.
    ///
    /// # Errors
    /// [`InvalidAnchorDay`] unless the day is from 1 to 31.
    pub fn on_day(day: u64, at: Timestamp) -> Result<Self, InvalidAnchorDay> {
        let invalid = InvalidAnchorDay(day);
        let day = u8::try_from(day).ok().filter(|day| (1..=31).contains(day)).ok_or(invalid)?;
        Ok(Self { day, time: at.to_offset_date_time().time() })
    }

    /// The day of the month, from 1 to 31.
    #[must_use]
    pub const fn day(self) -> u8 {
        self.day
    }

    /// The period that a moment is in. The years 1 and 9999 are the ends of time.
    #[must_use]
    pub fn period_at(self, at: Timestamp) -> Period {
        let date = at.to_offset_date_time().date();
        let (year, month) = (date.year(), date.month());
        let this = self.renewal_in(year, month);
        if this.is_some_and(|renewal| renewal <= at) {
            let (year, month) = month_after(year, month);
            let end = self.renewal_in(year, month).unwrap_or(Timestamp::MAX);
            Period { start: this.unwrap_or(Timestamp::MIN), end }
        } else {
            let (year, month) = month_before(year, month);
            let start = self.renewal_in(year, month).unwrap_or(Timestamp::MIN);
            Period { start, end: this.unwrap_or(Timestamp::MAX) }
        }
    }

    /// The first renewal after a moment.
    #[must_use]
    pub fn next_renewal(self, after: Timestamp) -> Timestamp {
        self.period_at(after).end
    }

    /// The renewal in a month; `None` outside the years that there are.
    fn renewal_in(self, year: i32, month: Month) -> Option<Timestamp> {
        let date = Date::from_calendar_date(year, month, self.day.min(month.length(year))).ok()?;
        let at = OffsetDateTime::new_utc(date, self.time);
        Timestamp::from_unix_micros(Timestamp::from_offset_date_time(at).unix_micros()).ok()
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "day {} at {}", self.day, self.time)
    }
}

const fn month_after(year: i32, month: Month) -> (i32, Month) {
    (if matches!(month, Month::December) { year + 1 } else { year }, month.next())
}

const fn month_before(year: i32, month: Month) -> (i32, Month) {
    (if matches!(month, Month::January) { year - 1 } else { year }, month.previous())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    /// The renewals that follow a beginning.
    fn renewals(began: &str, count: usize) -> Vec<String> {
        let began = at(began);
        let anchor = Anchor::at(began);
        let next = |before: &Timestamp| Some(anchor.next_renewal(*before));
        let dates = std::iter::successors(Some(began), next).skip(1).take(count);
        dates.map(|renewal| renewal.to_string()[..10].to_owned()).collect()
    }

    #[test]
    fn the_thirty_first_of_january_is_followed_by_the_last_of_february_and_the_thirty_first_of_march() {
        let found = renewals("2027-01-31T12:00:00Z", 13);
        let expected = [
            "2027-02-28",
            "2027-03-31",
            "2027-04-30",
            "2027-05-31",
            "2027-06-30",
            "2027-07-31",
            "2027-08-31",
            "2027-09-30",
            "2027-10-31",
            "2027-11-30",
            "2027-12-31",
            "2028-01-31",
            "2028-02-29",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_twenty_ninth_and_the_thirtieth_of_january_are_clamped_in_february_only() {
        assert_eq!(renewals("2027-01-30T00:00:00Z", 3), ["2027-02-28", "2027-03-30", "2027-04-30"]);
        assert_eq!(renewals("2028-01-30T00:00:00Z", 2), ["2028-02-29", "2028-03-30"]);
        assert_eq!(renewals("2027-01-29T00:00:00Z", 2), ["2027-02-28", "2027-03-29"]);
        assert_eq!(renewals("2028-01-29T00:00:00Z", 2), ["2028-02-29", "2028-03-29"]);
    }

    #[test]
    fn the_twenty_ninth_of_february_stays_the_twenty_ninth() {
        let found = renewals("2028-02-29T23:59:59.999999Z", 14);
        assert_eq!(found[..3], ["2028-03-29", "2028-04-29", "2028-05-29"]);
        assert_eq!(found[11..], ["2029-02-28", "2029-03-29", "2029-04-29"]);
        // Neither 1900 nor 2100 is a leap year; 2000 is.
        assert_eq!(renewals("2100-01-31T00:00:00Z", 1), ["2100-02-28"]);
        assert_eq!(renewals("2000-01-31T00:00:00Z", 1), ["2000-02-29"]);
    }

    #[test]
    fn a_period_ends_when_the_next_one_begins() {
        let anchor = Anchor::at(at("2027-01-31T12:00:00Z"));
        let (last, first) = (at("2027-02-28T11:59:59.999999Z"), at("2027-02-28T12:00:00Z"));
        assert_eq!(anchor.period_at(last).start, at("2027-01-31T12:00:00Z"));
        assert_eq!(anchor.period_at(last).end, first);
        assert_eq!(anchor.period_at(first), Period { start: first, end: at("2027-03-31T12:00:00Z") });
    }

    #[test]
    fn the_ends_of_time_are_periods_too() {
        for day in 1..=31 {
            let anchor = Anchor::on_day(day, at("2027-01-01T12:00:00Z")).unwrap();
            for moment in [Timestamp::MIN, Timestamp::MAX] {
                let period = anchor.period_at(moment);
                assert!(period.start <= moment && moment <= period.end, "{anchor}: {period:?}");
            }
        }
        for day in [0, 32, u64::MAX] {
            assert_eq!(Anchor::on_day(day, Timestamp::UNIX_EPOCH), Err(InvalidAnchorDay(day)));
        }
    }

    /// The days of the months by a rule of their own, so that the rule under test is not tested by itself.
    fn last_day(year: i32, month: u8) -> u8 {
        match month {
            2 if year % 400 == 0 || (year % 4 == 0 && year % 100 != 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    proptest! {
        /// Every anchor day, every month of 50 years, any time of day: the k-th renewal is in the k-th month, on the day of the
        /// anchor or the last of that month, at its time of day; and every period begins where the one before ended.
        #[test]
        fn periods_tile_time(day in 1_u64..=31, year in 1990_i32..2110, month in 1_u8..=12, micros in 0_i64..86_400_000_000) {
            let day_of = |year, month| u64::from(last_day(year, month)).min(day);
            let midnight = Date::from_calendar_date(year, month.try_into().unwrap(), day_of(year, month).try_into().unwrap()).unwrap();
            let began = Timestamp::from_offset_date_time(midnight.midnight().assume_utc()) + Duration::from_micros(micros.try_into().unwrap());
            let anchor = Anchor::on_day(day, began).unwrap();
            let mut period = anchor.period_at(began);
            prop_assert_eq!(period.start, began);
            for k in 1..=600_i32 {
                let months = i32::from(month) - 1 + k;
                let (year, month) = (year + months / 12, u8::try_from(months % 12).unwrap() + 1);
                let next = anchor.period_at(period.end);
                prop_assert_eq!(next.start, period.end, "no gap and no overlap");
                let renewal = next.start.to_offset_date_time();
                prop_assert_eq!((renewal.year(), u8::from(renewal.month())), (year, month));
                prop_assert_eq!(u64::from(renewal.day()), day_of(year, month));
                prop_assert_eq!(next.start.unix_micros().rem_euclid(86_400_000_000), micros);
                period = next;
            }
        }

        /// Any moment is in exactly one period, and all moments of a period find it.
        #[test]
        fn every_moment_is_in_one_period(day in 1_u64..=31, time in 0_i64..86_400_000_000, at in 0_i64..4_102_444_800_000_000) {
            let of = |micros| Timestamp::from_unix_micros(micros).unwrap();
            let anchor = Anchor::on_day(day, of(time)).unwrap();
            let period = anchor.period_at(of(at));
            prop_assert!(period.contains(of(at)));
            prop_assert_eq!(anchor.period_at(period.start), period);
            prop_assert_eq!(anchor.period_at(of(period.end.unix_micros() - 1)), period);
            prop_assert_eq!(anchor.next_renewal(of(at)), period.end);
            let days = (period.end.unix_micros() - period.start.unix_micros()) / 86_400_000_000;
            prop_assert!((28..=31).contains(&days), "{days} days");
        }
    }
}
