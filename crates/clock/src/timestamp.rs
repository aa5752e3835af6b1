//! A point in time.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time, UTC, in whole microseconds: exactly what the stores keep.
///
/// Between the years 1 and 9999; sums saturate there. Reads and prints as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The text is not an RFC 3339 time, or the number is out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid timestamp: expected RFC 3339 between the years 1 and 9999")]
pub struct TimestampError;

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z.
const FIRST: i64 = -62_135_596_800_000_000;
const LAST: i64 = 253_402_300_799_999_999;

const fn micros_of(at: OffsetDateTime) -> i64 {
    // i64 seconds of the years 1 to 9999 are below 2^38, so the product fits.
    #[expect(clippy::as_conversions, reason = "u32 to i64 is lossless; From is not const")]
    let fraction = at.microsecond() as i64;
    at.unix_timestamp() * 1_000_000 + fraction
}

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: Self = Self(0);

    /// 0001-01-01T00:00:00Z, the first time that there is.
    pub const MIN: Self = Self(FIRST);

    /// 9999-12-31T23:59:59.999999Z, the last time that there is.
    pub const MAX: Self = Self(LAST);

    /// The time `micros` microseconds after 1970 began.
    ///
    /// # Errors
    /// [`TimestampError`] outside the years 1 to 9999.
    pub const fn from_unix_micros(micros: i64) -> Result<Self, TimestampError> {
        if micros < FIRST || micros > LAST { Err(TimestampError) } else { Ok(Self(micros)) }
    }

    /// Microseconds since 1970 began.
    #[must_use]
    pub const fn unix_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970 began, rounding down.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Reads an RFC 3339 time; what is finer than a microsecond is cut off.
    ///
    /// # Errors
    /// [`TimestampError`] when it is not one.
    pub fn parse_rfc3339(text: &str) -> Result<Self, TimestampError> {
        let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimestampError)?;
        // An offset can lead out of the years that there are.
        Self::from_unix_micros(micros_of(at))
    }

    /// The same time from the `time` crate's type; what is finer than a microsecond is cut off.
    #[must_use]
    pub const fn from_offset_date_time(at: OffsetDateTime) -> Self {
        Self(micros_of(at))
    }

    /// The same time in the `time` crate's type, UTC.
    #[must_use]
    pub fn to_offset_date_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// The time since `earlier`; zero if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros).min(LAST))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, by: Duration) -> Self {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(micros).max(FIRST))
    }
}

/// The width of a date and a time up to the seconds, such as `2026-11-20T11:06:00`.
const SECONDS_WIDTH: usize = 19;

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_offset_date_time().format(&Rfc3339).map_err(|_| fmt::Error)?;
        // Always of the same width, so that times sort as texts.
        let seconds = text.get(..SECONDS_WIDTH).ok_or(fmt::Error)?;
        write!(f, "{seconds}.{:06}Z", self.unix_micros().rem_euclid(1_000_000))
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        Self::parse_rfc3339(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_years_1_to_9999_are_in_range() {
        for (text, micros) in [("0001-01-01T00:00:00.000000Z", FIRST), ("9999-12-31T23:59:59.999999Z", LAST)]
        {
            let at = Timestamp::parse_rfc3339(text).unwrap();
            assert_eq!((at.unix_micros(), at.to_string().as_str()), (micros, text));
        }
        assert!(Timestamp::from_unix_micros(FIRST - 1).is_err());
        assert!(Timestamp::from_unix_micros(LAST + 1).is_err());
        for text in ["0000-12-31T23:59:59Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"] {
            assert_eq!(Timestamp::parse_rfc3339(text), Err(TimestampError), "{text}");
        }
    }

    #[test]
    fn text_and_number_are_the_same_time() {
        let at = Timestamp::parse_rfc3339("2026-11-20T11:06:00.123456Z").unwrap();
        assert_eq!(at.to_string(), "2026-11-20T11:06:00.123456Z");
        assert_eq!(Timestamp::from_unix_micros(at.unix_micros()), Ok(at));
        assert_eq!(Timestamp::parse_rfc3339("2026-11-20T12:06:00.123456+01:00"), Ok(at));
    }

    #[test]
    fn sums_saturate_where_no_year_can_be_written() {
        let far = Timestamp::UNIX_EPOCH + Duration::MAX;
        assert_eq!(far.to_string(), "9999-12-31T23:59:59.999999Z");
        assert_eq!((Timestamp::UNIX_EPOCH - Duration::MAX).to_string(), "0001-01-01T00:00:00.000000Z");
        assert_eq!(Timestamp::from_unix_micros(i64::MAX), Err(TimestampError));
    }

    #[test]
    fn nothing_has_passed_since_a_later_time() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(now.since(now + Duration::from_secs(1)), Duration::ZERO);
        assert_eq!((now + Duration::from_secs(1)).since(now), Duration::from_secs(1));
    }
}
