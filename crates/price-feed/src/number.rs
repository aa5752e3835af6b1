//! Reads numbers from price sources without converting them to floats.

use serde_json::value::RawValue;
use std::borrow::Cow;
use tithe_clock::Timestamp;
use tithe_money::{BtcPrice, UsdMicros};

const MICROS_PER_USD: u64 = 1_000_000;
const USD_MIN: u64 = 100;
const USD_MAX: u64 = 100_000_000;

/// The significant decimals of a dollar price; further digits are truncated.
const DECIMALS: usize = 6;

/// The reason why a number is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NumberError {
    #[error("expected a plain decimal number")]
    NotADecimal,
    #[error("implausible price: expected {USD_MIN} to {USD_MAX} USD")]
    Implausible,
    #[error("expected a timestamp")]
    NotATime,
}

/// The text of a JSON number, or of a JSON string that contains one.
fn text_of(value: &RawValue) -> Cow<'_, str> {
    let text = value.get();
    if text.starts_with('"') {
        serde_json::from_str(text).map_or_else(|_| text.into(), |unquoted: String| unquoted.into())
    } else {
        text.into()
    }
}

/// Parses a plausible bitcoin price.
pub(crate) fn price_of(value: &RawValue) -> Result<BtcPrice, NumberError> {
    let text = text_of(value);
    // Truncate only between digits, so that a sign or an exponent is still detected.
    let cut = text
        .split_once('.')
        .filter(|(_, fraction)| fraction.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|(whole, fraction)| text.get(..whole.len() + 1 + fraction.len().min(DECIMALS)))
        .unwrap_or(&text);
    let dollars = UsdMicros::parse(cut).map_err(|error| match error {
        tithe_money::MoneyError::TooLarge => NumberError::Implausible,
        _ => NumberError::NotADecimal,
    })?;
    if !(USD_MIN * MICROS_PER_USD..=USD_MAX * MICROS_PER_USD).contains(&dollars.get()) {
        return Err(NumberError::Implausible);
    }
    BtcPrice::from_usd_micros(dollars).map_err(|_| NumberError::Implausible)
}

/// Parses a whole number of units since 1970.
pub(crate) fn timestamp_of(value: &RawValue, micros_per_unit: i64) -> Result<Timestamp, NumberError> {
    let units: i64 = text_of(value).parse().map_err(|_| NumberError::NotATime)?;
    units
        .checked_mul(micros_per_unit)
        .and_then(|micros| Timestamp::from_unix_micros(micros).ok())
        .ok_or(NumberError::NotATime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn price(json: &str) -> Result<String, NumberError> {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        price_of(raw).map(|price| price.to_string())
    }

    #[test]
    fn prices_are_read_digit_by_digit() {
        let cases = [
            ("97123", "97123 USD"),
            ("97123.45", "97123.45 USD"),
            ("\"97123.45\"", "97123.45 USD"),
            ("97123.450000", "97123.45 USD"),
            ("\"97123.4567891234567890123456789\"", "97123.456789 USD"),
            ("97123.9999999", "97123.999999 USD"),
            // A number that a float cannot represent.
            ("90071992.547409", "90071992.547409 USD"),
            ("100", "100 USD"),
            ("100000000", "100000000 USD"),
        ];
        for (json, expected) in cases {
            assert_eq!(price(json).as_deref(), Ok(expected), "{json}");
        }
    }

    #[test]
    fn what_is_no_price_of_bitcoin_is_refused() {
        for json in ["0", "0.0", "\"0\"", "99.999999", "100000000.000001", "99999999999999999999999"] {
            assert_eq!(price(json), Err(NumberError::Implausible), "{json}");
        }
        let not_decimals = [
            "-97123.45",
            "\"-97123\"",
            "9.7e4",
            "97123.45e0",
            "\"97123.4567891e-3\"",
            "\"97,123\"",
            "\"\"",
            "null",
            "true",
            "\" 97123\"",
            "\"97123.\"",
            "\".5\"",
            "\"NaN\"",
            "\"0x17\"",
            "[97123]",
            "{}",
            "\"9712३\"",
            "\"1.234567é\"",
        ];
        for json in not_decimals {
            assert_eq!(price(json), Err(NumberError::NotADecimal), "{json}");
        }
    }

    #[test]
    fn times_are_whole_numbers_in_the_source_s_unit() {
        let time = |json, unit| timestamp_of(serde_json::from_str(json).unwrap(), unit);
        let at = Timestamp::parse_rfc3339("2026-01-31T12:00:00Z").unwrap();
        assert_eq!(time("1769860800", 1_000_000), Ok(at));
        assert_eq!(time("\"1769860800\"", 1_000_000), Ok(at));
        assert_eq!(time("1769860800000", 1_000), Ok(at));
        for wrong in ["1769860800.5", "\"soon\"", "9223372036854775807", "null"] {
            assert_eq!(time(wrong, 1_000_000), Err(NumberError::NotATime), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_plausible_price_or_an_error(text in "\\PC{0,30}") {
            let json = serde_json::value::to_raw_value(&text).unwrap();
            if let Ok(price) = price_of(&json) {
                let micros = price.usd_micros().get();
                prop_assert!((USD_MIN * MICROS_PER_USD..=USD_MAX * MICROS_PER_USD).contains(&micros));
            }
        }

        #[test]
        fn quoted_or_not_a_price_is_the_same(dollars in 100_u64..100_000_000, fraction in "[0-9]{1,12}") {
            let plain = format!("{dollars}.{fraction}");
            let read = price(&plain);
            prop_assert!(read.is_ok());
            prop_assert_eq!(&read, &price(&format!("\"{plain}\"")));
        }
    }
}
