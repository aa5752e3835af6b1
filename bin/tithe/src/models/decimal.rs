//! Dollars from JSON numbers, exactly.

use tithe_money::UsdMicros;

/// Micro-dollars are dollars with this many decimals.
const DECIMALS: i64 = 6;

/// More digits than any amount has.
const DIGITS_MAX: usize = 40;

/// The amount of a JSON number of dollars, which may have an exponent. None if it is negative, has a fraction of a micro-dollar, or does
/// not fit.
pub(super) fn usd(number: &str) -> Option<UsdMicros> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i64 = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    if whole.is_empty() || digits.len() > DIGITS_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: u128 = digits.parse().ok()?;
    if digits == 0 {
        return Some(UsdMicros::ZERO);
    }
    let shift = exponent.checked_add(DECIMALS)?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let power = 10_u128.checked_pow(u32::try_from(shift.unsigned_abs()).ok()?)?;
    let micros = if shift >= 0 {
        digits.checked_mul(power)?
    } else if digits.is_multiple_of(power) {
        digits / power
    } else {
        return None;
    };
    UsdMicros::new(u64::try_from(micros).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_exactly() {
        for (number, micros) in [
            ("0", 0),
            ("0.000", 0),
            ("2", 2_000_000),
            ("0.075", 75_000),
            ("0.000001", 1),
            ("0.0000010", 1),
            ("1e-6", 1),
            ("1.5E+1", 15_000_000),
            ("25e-2", 250_000),
            ("10e-7", 1),
        ] {
            assert_eq!(usd(number).map(UsdMicros::get), Some(micros), "{number}");
        }
    }

    #[test]
    fn what_cannot_be_represented_is_refused() {
        for number in
            ["0.0000001", "1e-7", "-1", "1e30", "1e99999999999999999999", "", ".5", "null", "1e9999"]
        {
            assert_eq!(usd(number), None, "{number}");
        }
    }
}
