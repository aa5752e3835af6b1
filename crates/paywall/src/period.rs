//! Calendar periods.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tithe_clock::Timestamp;

/// A calendar period in UTC. The periods of one kind follow each other without a gap or an overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Period {
    /// From one full hour to the next.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From midnight on the first day of a month to the same time of the next month.
    Month,
}

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

impl Period {
    /// All kinds, the shortest first. Each contains whole periods of the shorter kinds.
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Month];

    /// The start of the period that contains `at`. The start belongs to the period.
    #[must_use]
    pub fn start_of(self, at: Timestamp) -> Timestamp {
        match self {
            Self::Hour => at - since_multiple_of(HOUR, at),
            Self::Day => at - since_multiple_of(DAY, at),
            Self::Month => {
                let day_of_month = at.to_offset_date_time().day();
                Self::Day.start_of(at) - DAY * u32::from(day_of_month.saturating_sub(1))
            }
        }
    }

    /// The end of the period that contains `at`: the start of the next one, which belongs to the next one. The last
    /// period of the year 9999 ends with the last [`Timestamp`].
    #[must_use]
    pub fn end_of(self, at: Timestamp) -> Timestamp {
        let start = self.start_of(at);
        match self {
            Self::Hour => start + HOUR,
            Self::Day => start + DAY,
            Self::Month => {
                let date = start.to_offset_date_time();
                start + DAY * u32::from(date.month().length(date.year()))
            }
        }
    }

    /// The name, as it is used in caveats: `hour`, `day` or `month`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

/// The time since the last multiple of `length` after 1970 began. The first timestamp, midnight of 1 January of the
/// year 1, is a multiple of both lengths used here, so every timestamp has a multiple before it.
fn since_multiple_of(length: Duration, at: Timestamp) -> Duration {
    let micros = i128::from(at.unix_micros()).rem_euclid(length.as_micros().cast_signed());
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not the name of a [`Period`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown period: expected hour, day or month")]
pub struct UnknownPeriod;

impl FromStr for Period {
    type Err = UnknownPeriod;
    fn from_str(text: &str) -> Result<Self, UnknownPeriod> {
        Self::ALL.into_iter().find(|period| period.as_str() == text).ok_or(UnknownPeriod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MICRO: Duration = Duration::from_micros(1);

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn a_period_is_a_calendar_hour_day_or_month_in_utc() {
        let now = "2028-02-28T23:59:59.999999Z";
        for (period, at_, start, end) in [
            (Period::Hour, now, "2028-02-28T23:00:00Z", "2028-02-29T00:00:00Z"),
            (Period::Day, now, "2028-02-28T00:00:00Z", "2028-02-29T00:00:00Z"),
            (Period::Month, now, "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            (Period::Month, "2100-02-01T00:00:00Z", "2100-02-01T00:00:00Z", "2100-03-01T00:00:00Z"),
            (Period::Month, "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            (Period::Hour, "1969-12-31T23:59:59Z", "1969-12-31T23:00:00Z", "1970-01-01T00:00:00Z"),
            (Period::Month, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-02-01T00:00:00Z"),
            // The same instant elsewhere: periods are in UTC.
            (Period::Day, "2026-03-01T00:30:00+01:00", "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z"),
        ] {
            assert_eq!(period.start_of(at(at_)), at(start), "{period} of {at_}");
            assert_eq!(period.end_of(at(at_)), at(end), "{period} of {at_}");
        }
    }

    #[test]
    fn the_last_periods_end_with_the_last_timestamp() {
        let last = at("9999-12-31T23:59:59.999999Z");
        for period in Period::ALL {
            assert_eq!(period.end_of(last), last);
            assert_eq!(period.end_of(period.start_of(last)), last);
        }
    }

    /// Walks from period to period through two centuries and counts them.
    #[test]
    fn periods_tile_two_centuries() {
        let (first, last) = (at("1999-01-01T00:00:00Z"), at("2199-01-01T00:00:00Z"));
        // The leap years are those from 2000 to 2196, without 2100.
        let days = 200 * 365 + 49;
        for (period, count) in [(Period::Hour, days * 24), (Period::Day, days), (Period::Month, 200 * 12)] {
            let (mut start, mut periods) = (first, 0);
            while start < last {
                let end = period.end_of(start);
                assert_eq!((period.start_of(start), period.start_of(end - MICRO)), (start, start));
                (start, periods) = (end, periods + 1);
            }
            assert_eq!((start, periods), (last, count), "{period}");
        }
    }

    #[test]
    fn a_period_reads_as_it_prints() {
        for period in Period::ALL {
            assert_eq!(period.to_string().parse(), Ok(period));
        }
        for wrong in ["", "Hour", "year", "hours", " day"] {
            assert_eq!(wrong.parse::<Period>(), Err(UnknownPeriod), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn every_time_is_in_one_period_of_each_kind(micros in -62_135_596_800_000_000_i64..253_399_622_400_000_000) {
            let now = Timestamp::from_unix_micros(micros).unwrap();
            for period in Period::ALL {
                let (start, end) = (period.start_of(now), period.end_of(now));
                prop_assert!(start <= now && now < end);
                prop_assert_eq!(period.start_of(end), end);
                prop_assert_eq!(period.start_of(end - MICRO), start);
                prop_assert_eq!(period.end_of(start), end);
            }
            // A longer period begins no later and ends no earlier.
            for pair in Period::ALL.windows(2) {
                prop_assert!(pair[1].start_of(now) <= pair[0].start_of(now));
                prop_assert!(pair[1].end_of(now) >= pair[0].end_of(now));
            }
        }
    }
}
