//! Limits on what a key may spend.

use crate::Period;
use std::fmt;
use tithe_money::Msats;

/// A limit that a caveat sets on a key. Everything narrowed from the key's macaroon counts against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Limit {
    /// The maximum spend in total (`max_spend_msats`).
    Total(Msats),
    /// The maximum spend in each calendar period (`max_spend_msats_per_hour`, `_per_day`, `_per_month`).
    Period(Period, Msats),
    /// The maximum number of requests (`max_requests`).
    Requests(u64),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Total(limit) => write!(f, "{limit} in total"),
            Self::Period(period, limit) => write!(f, "{limit} per {period}"),
            Self::Requests(limit) => {
                write!(f, "{limit} {}", if *limit == 1 { "request" } else { "requests" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_says_its_unit_and_period() {
        let msats = Msats::new(7).unwrap();
        assert_eq!(Limit::Total(msats).to_string(), "7 msat in total");
        assert_eq!(Limit::Period(Period::Day, msats).to_string(), "7 msat per day");
        assert_eq!(Limit::Requests(1).to_string(), "1 request");
        assert_eq!(Limit::Requests(2).to_string(), "2 requests");
    }
}
