//! A month of the calendar, in UTC.

use std::fmt;
use std::str::FromStr;
use tithe_clock::{Timestamp, TimestampError};
use tithe_engine::store::TimeRange;

/// A month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Month {
    year: u16,
    month: u8,
}

/// The text is not a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a year and a month, such as 2026-11")]
pub(super) struct InvalidMonth;

impl Month {
    /// The time from its first moment to that of the next month.
    ///
    /// # Errors
    /// [`TimestampError`] for a month that no timestamp is in.
    pub(super) fn range(self) -> Result<TimeRange, TimestampError> {
        let next = if self.month == 12 {
            Self { year: self.year + 1, month: 1 }
        } else {
            Self { month: self.month + 1, ..self }
        };
        let first = |month: Self| Timestamp::parse_rfc3339(&format!("{month}-01T00:00:00Z"));
        Ok(TimeRange { from: first(self)?, until: first(next)? })
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Month {
    type Err = InvalidMonth;

    fn from_str(text: &str) -> Result<Self, InvalidMonth> {
        let (year, month) = text.split_once('-').ok_or(InvalidMonth)?;
        let read = Self {
            year: year.parse().map_err(|_| InvalidMonth)?,
            month: month.parse().map_err(|_| InvalidMonth)?,
        };
        let is_month = (1..=12).contains(&read.month) && (1970..9999).contains(&read.year);
        if is_month && read.to_string() == text { Ok(read) } else { Err(InvalidMonth) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_ends_where_the_next_begins() {
        for (text, from, until) in [
            ("2026-11", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
            ("2026-12", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("2028-02", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
        ] {
            let range = text.parse::<Month>().unwrap().range().unwrap();
            assert_eq!(
                (range.from, range.until),
                (Timestamp::parse_rfc3339(from).unwrap(), Timestamp::parse_rfc3339(until).unwrap())
            );
        }
    }

    #[test]
    fn what_is_no_month_is_refused() {
        for wrong in [
            "",
            "2026",
            "2026-13",
            "2026-00",
            "2026-1",
            "26-01",
            "2026-011",
            "2026-11-01",
            "x-01",
            "+2026-01",
            "9999-12",
        ] {
            assert_eq!(wrong.parse::<Month>(), Err(InvalidMonth), "{wrong:?}");
        }
    }
}
