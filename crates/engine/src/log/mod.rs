//! What lines of the log have in common: errors with their causes, times as numbers, the owners of money, slow calls.
//!
//! The fields and their meaning are listed in `docs/operating/observe.md`, "Logs": one name for one thing in every crate, and
//! amounts, counts and times as numbers with the unit in the name.

mod owner;
mod slow_call;
mod slow_ports;

pub use crate::error_chain::chain;
pub(crate) use owner::Owner;
pub use slow_call::SlowCall;
pub(crate) use slow_ports::watched;

use std::time::Duration;

/// A duration for a field whose name ends in `_ms`: milliseconds, to the microsecond.
#[must_use]
pub fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// An amount that may be negative, for a field whose name ends in `_msats`.
pub(crate) fn signed_msats(amount: i128) -> i64 {
    i64::try_from(amount).unwrap_or(if amount < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_milliseconds() {
        assert_eq!(millis(Duration::from_secs(2)).to_string(), "2000");
        assert_eq!(millis(Duration::from_nanos(612_345)).to_string(), "0.612");
        assert_eq!(signed_msats(-5), -5);
        assert_eq!(signed_msats(i128::MAX), i64::MAX);
    }
}
