//! Caveats: the conditions under which a macaroon is valid.

use crate::{Limit, Period};
use std::fmt;
use std::str::FromStr;
use tithe_clock::Timestamp;
use tithe_money::Msats;

const EXPIRES: &str = "expires";
const MODEL: &str = "model";
const TOTAL: &str = "max_spend_msats";
const PER_HOUR: &str = "max_spend_msats_per_hour";
const PER_DAY: &str = "max_spend_msats_per_day";
const PER_MONTH: &str = "max_spend_msats_per_month";
const REQUESTS: &str = "max_requests";

/// A condition, written `name=value`. A macaroon may have several of the same name: all of them must hold.
///
/// The set is closed: a macaroon with a caveat that is not known here is refused. Each caveat has one spelling, without
/// spaces; a number is decimal, without a sign and without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caveat {
    /// `expires=<unix seconds>`: the macaroon is valid before this time.
    Expires(Expiry),
    /// `model=<name>[,<name>…]`: only these models may be used.
    Models(Models),
    /// `max_spend_msats=<msats>`, `max_spend_msats_per_hour=`, `max_spend_msats_per_day=`, `max_spend_msats_per_month=`,
    /// `max_requests=<number>`: what everything narrowed from here may use together.
    Limit(Limit),
}

impl Caveat {
    /// The caveat that a macaroon expires at `at`, rounded down to the second.
    #[must_use]
    pub fn expires(at: Timestamp) -> Self {
        Self::Expires(Expiry::at(at))
    }

    /// The caveat that only these models may be used.
    ///
    /// # Errors
    /// [`InvalidCaveat::Model`], see [`Models::new`].
    pub fn models<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidCaveat> {
        Models::new(names).map(Self::Models)
    }

    /// Reads a caveat from the bytes in a macaroon.
    ///
    /// # Errors
    /// [`InvalidCaveat`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidCaveat> {
        std::str::from_utf8(bytes).map_err(|_| InvalidCaveat::Unknown)?.parse()
    }
}

impl fmt::Display for Caveat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expires(Expiry(seconds)) => write!(f, "{EXPIRES}={seconds}"),
            Self::Models(Models(names)) => write!(f, "{MODEL}={}", names.join(",")),
            Self::Limit(Limit::Total(limit)) => write!(f, "{TOTAL}={}", limit.get()),
            Self::Limit(Limit::Period(period, limit)) => {
                let name = match period {
                    Period::Hour => PER_HOUR,
                    Period::Day => PER_DAY,
                    Period::Month => PER_MONTH,
                };
                write!(f, "{name}={}", limit.get())
            }
            Self::Limit(Limit::Requests(limit)) => write!(f, "{REQUESTS}={limit}"),
        }
    }
}

impl FromStr for Caveat {
    type Err = InvalidCaveat;
    fn from_str(text: &str) -> Result<Self, InvalidCaveat> {
        let (name, value) = text.split_once('=').ok_or(InvalidCaveat::Unknown)?;
        match name {
            EXPIRES => {
                let seconds = number(value).filter(|seconds| *seconds <= Expiry::MAX);
                seconds.map(|seconds| Self::Expires(Expiry(seconds))).ok_or(InvalidCaveat::Expires)
            }
            MODEL => Self::models(value.split(',')),
            TOTAL => msats(TOTAL, value).map(|limit| Self::Limit(Limit::Total(limit))),
            PER_HOUR => msats(PER_HOUR, value).map(|limit| Self::Limit(Limit::Period(Period::Hour, limit))),
            PER_DAY => msats(PER_DAY, value).map(|limit| Self::Limit(Limit::Period(Period::Day, limit))),
            PER_MONTH => {
                msats(PER_MONTH, value).map(|limit| Self::Limit(Limit::Period(Period::Month, limit)))
            }
            REQUESTS => {
                let limit = number(value)
                    .ok_or(InvalidCaveat::Number { name: REQUESTS, unit: "number of requests" })?;
                Ok(Self::Limit(Limit::Requests(limit)))
            }
            _ => Err(InvalidCaveat::Unknown),
        }
    }
}

impl From<Limit> for Caveat {
    fn from(limit: Limit) -> Self {
        Self::Limit(limit)
    }
}

/// When a macaroon expires, in whole seconds since 1970 began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expiry(u64);

impl Expiry {
    /// The last second of the year 9999, the last that a [`Timestamp`] can express.
    const MAX: u64 = 253_402_300_799;

    /// The expiry time `at`, rounded down to the second, so that it is never later; 1970 for earlier times.
    #[must_use]
    pub fn at(at: Timestamp) -> Self {
        Self(u64::try_from(at.unix_seconds()).unwrap_or_default())
    }

    /// The first instant at which the macaroon is not valid.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        Timestamp::UNIX_EPOCH + std::time::Duration::from_secs(self.0)
    }
}

/// The names of one or more different models, in the order given.
///
/// A name consists of ASCII letters, digits and `/ : . - _ @`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Models(Vec<String>);

impl Models {
    /// The models with these names.
    ///
    /// # Errors
    /// [`InvalidCaveat::Model`] for no name, the same name twice, an empty name, or one with another character.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidCaveat> {
        let mut models: Vec<String> = Vec::new();
        for name in names {
            let is_valid = !name.is_empty() && name.bytes().all(is_in_model_names);
            if !is_valid || models.iter().any(|known| known == name) {
                return Err(InvalidCaveat::Model);
            }
            models.push(name.to_owned());
        }
        if models.is_empty() { Err(InvalidCaveat::Model) } else { Ok(Self(models)) }
    }

    /// The names, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

fn is_in_model_names(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/:.-_@".contains(&byte)
}

fn msats(name: &'static str, value: &str) -> Result<Msats, InvalidCaveat> {
    number(value)
        .and_then(|msats| Msats::new(msats).ok())
        .ok_or(InvalidCaveat::Number { name, unit: "number of millisats" })
}

/// A decimal number in its only spelling.
fn number(text: &str) -> Option<u64> {
    let is_canonical =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_canonical { text.parse().ok() } else { None }
}

/// The reason why a caveat is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCaveat {
    /// The caveat's name is unknown.
    #[error(
        "unknown caveat: expected {EXPIRES}, {MODEL}, {TOTAL}, {PER_HOUR}, {PER_DAY}, {PER_MONTH} or {REQUESTS}, \
         with = and a value"
    )]
    Unknown,
    /// The expiry time is malformed.
    #[error("invalid caveat: expected {EXPIRES}=<seconds since 1970>")]
    Expires,
    /// The models are malformed.
    #[error(
        "invalid caveat: expected {MODEL}=<name>[,<name>…] with different names of letters, digits and /:.-_@"
    )]
    Model,
    /// The number is malformed or out of range.
    #[error("invalid caveat: expected {name}=<{unit}>")]
    Number {
        /// The caveat's name.
        name: &'static str,
        /// What is counted.
        unit: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Caveat, InvalidCaveat> {
        text.parse()
    }

    #[test]
    fn every_kind_of_caveat_has_its_spelling() {
        let msats = Msats::new(5_000).unwrap();
        let at = Timestamp::parse_rfc3339("2026-01-31T12:00:00Z").unwrap();
        for (text, caveat) in [
            ("expires=1769860800", Caveat::expires(at)),
            ("expires=0", Caveat::expires(Timestamp::UNIX_EPOCH)),
            ("model=gpt-4.1", Caveat::models(["gpt-4.1"]).unwrap()),
            ("model=b/c:d_e@f,a", Caveat::models(["b/c:d_e@f", "a"]).unwrap()),
            ("max_spend_msats=5000", Limit::Total(msats).into()),
            ("max_spend_msats_per_hour=5000", Limit::Period(Period::Hour, msats).into()),
            ("max_spend_msats_per_day=5000", Limit::Period(Period::Day, msats).into()),
            ("max_spend_msats_per_month=5000", Limit::Period(Period::Month, msats).into()),
            ("max_requests=18446744073709551615", Limit::Requests(u64::MAX).into()),
            ("max_requests=0", Limit::Requests(0).into()),
        ] {
            assert_eq!(parse(text), Ok(caveat.clone()), "{text}");
            assert_eq!(Caveat::from_bytes(text.as_bytes()), Ok(caveat.clone()), "{text}");
            assert_eq!(caveat.to_string(), text);
        }
    }

    #[test]
    fn an_unknown_caveat_is_refused() {
        for wrong in [
            "",
            "=",
            "=1",
            "expires",
            "test = caveat",
            "Expires=1",
            " expires=1",
            "expires =1",
            "models=a",
            "max_spend_msats_per_year=1",
            "max_spend_sats=1",
            "max_spend_msats_per_=1",
            "é=1",
        ] {
            assert_eq!(parse(wrong), Err(InvalidCaveat::Unknown), "{wrong:?}");
        }
        assert_eq!(Caveat::from_bytes(b"expires=\xff"), Err(InvalidCaveat::Unknown));
    }

    #[test]
    fn a_malformed_value_is_refused() {
        let numbers = [
            "",
            "-1",
            "+1",
            "01",
            "00",
            "1 ",
            " 1",
            "1.0",
            "1e3",
            "0x1",
            "1_000",
            "1=1",
            "١",
            "1\n",
            "1\0",
            "18446744073709551616",
            "99999999999999999999999",
        ];
        for wrong in numbers {
            assert_eq!(parse(&format!("expires={wrong}")), Err(InvalidCaveat::Expires), "{wrong:?}");
            for name in [TOTAL, PER_HOUR, PER_DAY, PER_MONTH, REQUESTS] {
                let refused = parse(&format!("{name}={wrong}"));
                assert!(
                    matches!(refused, Err(InvalidCaveat::Number { name: of, .. }) if of == name),
                    "{name} {wrong:?}"
                );
            }
        }
        // More than all the bitcoin there can be, and later than any time.
        assert!(parse("max_spend_msats=2100000000000000000").is_ok());
        assert!(parse("max_spend_msats=2100000000000000001").is_err());
        assert!(parse("expires=253402300799").is_ok());
        assert!(parse("expires=253402300800").is_err());
        for wrong in
            ["", ",", "a,", ",a", "a,,b", "a,a", "a, b", "a b", "a;b", "a=b", "*", "é", "a\n", "a%20", "a+b"]
        {
            assert_eq!(parse(&format!("model={wrong}")), Err(InvalidCaveat::Model), "{wrong:?}");
        }
        assert_eq!(Caveat::models([]), Err(InvalidCaveat::Model));
    }

    #[test]
    fn an_expiry_is_never_later_than_the_time_it_was_made_from() {
        let now = Timestamp::from_unix_micros(1_999_999).unwrap();
        assert_eq!(Expiry::at(now).timestamp(), Timestamp::from_unix_micros(1_000_000).unwrap());
        let before_1970 = Timestamp::from_unix_micros(-1).unwrap();
        assert_eq!(Expiry::at(before_1970).timestamp(), Timestamp::UNIX_EPOCH);
        let last = Timestamp::parse_rfc3339("9999-12-31T23:59:59Z").unwrap();
        assert_eq!(Expiry(Expiry::MAX).timestamp(), last);
    }

    #[test]
    fn an_error_says_what_is_expected() {
        let error = parse("max_spend_msats_per_day=x").unwrap_err().to_string();
        assert_eq!(error, "invalid caveat: expected max_spend_msats_per_day=<number of millisats>");
        let error = parse("max_requests=x").unwrap_err().to_string();
        assert_eq!(error, "invalid caveat: expected max_requests=<number of requests>");
        let error = parse("colour=blue").unwrap_err().to_string();
        assert!(error.starts_with("unknown caveat: expected expires, model, max_spend_msats,"), "{error}");
    }

    proptest! {
        #[test]
        fn a_caveat_reads_as_it_prints(caveat in testing::caveat()) {
            prop_assert_eq!(parse(&caveat.to_string()), Ok(caveat));
        }

        #[test]
        fn a_caveat_prints_as_it_was_read(text in "(expires|model|max_spend_msats|max_requests)=[0-9a-c,]{0,4}|\\PC*") {
            if let Ok(caveat) = parse(&text) {
                prop_assert_eq!(caveat.to_string(), text);
            }
        }
    }
}
