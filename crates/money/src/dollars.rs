//! Dollars, and their conversion to bitcoin at a price.

use crate::{BasisPoints, MoneyError, Msats};
use std::fmt;
use std::num::NonZeroU64;

/// Millisats in a bitcoin.
const MSATS_PER_BTC: u128 = 100_000_000_000;
/// Pico-dollars in a micro-dollar.
const PICOS_PER_MICRO: u128 = 1_000_000;

/// Reads a plain decimal as a whole number of its `decimals`-th parts. No sign, no exponent, no separators.
pub(crate) fn parse_decimal(text: &str, decimals: u32) -> Result<u64, MoneyError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let width = usize::try_from(decimals).map_err(|_| MoneyError::NotADecimal)?;
    let dangling = text.ends_with('.');
    if whole.is_empty() || dangling || !digits(whole) || !digits(fraction) || fraction.len() > width {
        return Err(MoneyError::NotADecimal);
    }
    format!("{whole}{fraction:0<width$}").parse().map_err(|_| MoneyError::TooLarge)
}

/// Prints a whole number of `decimals`-th parts as a decimal with at least `keep` decimals and no other trailing zeros.
pub(crate) fn write_decimal(
    f: &mut fmt::Formatter<'_>,
    parts: u64,
    decimals: usize,
    keep: usize,
) -> fmt::Result {
    let digits = format!("{parts:0>width$}", width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let trimmed = fraction.trim_end_matches('0');
    let shown = trimmed.len().max(keep);
    f.write_str(whole)?;
    if shown > 0 {
        write!(f, ".{trimmed:0<shown$}")?;
    }
    Ok(())
}

/// A whole number of micro-dollars (a millionth of a US dollar).
///
/// Prints as a decimal number of dollars; parses with [`UsdMicros::parse`]. It always fits an `i64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "u64", into = "u64"))]
pub struct UsdMicros(u64);

impl UsdMicros {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// The most that fits a store's signed number: about nine trillion dollars.
    pub const MAX: Self = Self(i64::MAX.cast_unsigned());

    /// An amount of `micros` micro-dollars.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] above [`UsdMicros::MAX`].
    pub const fn new(micros: u64) -> Result<Self, MoneyError> {
        if micros > Self::MAX.0 { Err(MoneyError::TooLarge) } else { Ok(Self(micros)) }
    }

    /// An amount from a decimal number of dollars, such as `0.0361` or `100000`.
    ///
    /// # Errors
    /// [`MoneyError::NotADecimal`] for anything but digits with at most six decimals, [`MoneyError::TooLarge`] above
    /// [`UsdMicros::MAX`].
    pub fn parse(dollars: &str) -> Result<Self, MoneyError> {
        parse_decimal(dollars, 6).and_then(Self::new)
    }

    /// The amount as a number of micro-dollars.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The amount as the signed number that stores use.
    #[must_use]
    pub const fn to_i64(self) -> i64 {
        self.0.cast_signed()
    }

    /// The amount that a store's signed number holds.
    ///
    /// # Errors
    /// [`MoneyError::Negative`] below zero.
    pub fn from_i64(micros: i64) -> Result<Self, MoneyError> {
        u64::try_from(micros).map_err(|_| MoneyError::Negative).and_then(Self::new)
    }

    /// The sum.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] above [`UsdMicros::MAX`].
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_add(other.0).ok_or(MoneyError::TooLarge).and_then(Self::new)
    }
}

impl TryFrom<u64> for UsdMicros {
    type Error = MoneyError;
    fn try_from(micros: u64) -> Result<Self, MoneyError> {
        Self::new(micros)
    }
}

impl From<UsdMicros> for u64 {
    fn from(micros: UsdMicros) -> Self {
        micros.0
    }
}

impl fmt::Display for UsdMicros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_decimal(f, self.0, 6, 0)
    }
}

/// A cost in pico-dollars: tokens times micro-dollars per million tokens is exactly this unit, so nothing has been
/// rounded yet. Only a cost that is being worked out has it; it ends as [`UsdMicros`] or [`Msats`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PicoUsd(u128);

impl PicoUsd {
    /// No cost.
    pub const ZERO: Self = Self(0);

    /// A cost of `picos` pico-dollars.
    #[must_use]
    pub const fn new(picos: u128) -> Self {
        Self(picos)
    }

    /// What `tokens` cost at a rate of `per_million` micro-dollars per million tokens. Exact.
    ///
    /// # Errors
    /// None in practice: 64 by 64 bits always fit. The type is checked all the same.
    pub fn of_tokens(tokens: u64, per_million: UsdMicros) -> Result<Self, MoneyError> {
        u128::from(tokens).checked_mul(u128::from(per_million.0)).map(Self).ok_or(MoneyError::TooLarge)
    }

    /// What `quantity` units cost at a rate of `price` for `per` units, rounding up to the pico-dollar: $0.006 per minute is a
    /// price of 6 000 micro-dollars per 60 seconds.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] when it does not fit.
    pub fn of_units_rounding_up(
        quantity: u64,
        price: UsdMicros,
        per: NonZeroU64,
    ) -> Result<Self, MoneyError> {
        let product = u128::from(quantity).checked_mul(u128::from(price.0) * PICOS_PER_MICRO);
        product.map(|product| Self(product.div_ceil(u128::from(per.get())))).ok_or(MoneyError::TooLarge)
    }

    /// The sum.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] when it does not fit.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_add(other.0).map(Self).ok_or(MoneyError::TooLarge)
    }

    /// Whole micro-dollars, rounding up: what a cost is recorded as.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] above [`UsdMicros::MAX`].
    pub fn to_usd_micros_rounding_up(self) -> Result<UsdMicros, MoneyError> {
        u64::try_from(self.0.div_ceil(PICOS_PER_MICRO))
            .map_err(|_| MoneyError::TooLarge)
            .and_then(UsdMicros::new)
    }

    /// Whole micro-dollars of this cost times (1 + `margin`), rounding up once, at the end.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] above [`UsdMicros::MAX`].
    pub fn to_usd_micros_with_margin_rounding_up(self, margin: BasisPoints) -> Result<UsdMicros, MoneyError> {
        let whole = u128::from(BasisPoints::WHOLE.get());
        let numerator = self.0.checked_mul(whole + u128::from(margin.get())).ok_or(MoneyError::TooLarge)?;
        u64::try_from(numerator.div_ceil(whole * PICOS_PER_MICRO))
            .map_err(|_| MoneyError::TooLarge)
            .and_then(UsdMicros::new)
    }

    /// Whole millisats at `price`, rounding up: a price never rounds below its cost.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] above [`Msats::MAX`].
    pub fn to_msats_rounding_up(self, price: BtcPrice) -> Result<Msats, MoneyError> {
        self.to_msats_with_margin_rounding_up(BasisPoints::ZERO, price)
    }

    /// Whole millisats of this cost times (1 + `margin`) at `price`, rounding up once, at the end.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] above [`Msats::MAX`].
    pub fn to_msats_with_margin_rounding_up(
        self,
        margin: BasisPoints,
        price: BtcPrice,
    ) -> Result<Msats, MoneyError> {
        let whole = u128::from(BasisPoints::WHOLE.get());
        let factor = whole + u128::from(margin.get());
        let numerator = self
            .0
            .checked_mul(factor)
            .and_then(|n| n.checked_mul(MSATS_PER_BTC))
            .ok_or(MoneyError::TooLarge)?;
        let denominator = u128::from(price.0.get()) * PICOS_PER_MICRO * whole;
        u64::try_from(numerator.div_ceil(denominator)).map_err(|_| MoneyError::TooLarge).and_then(Msats::new)
    }
}

impl From<UsdMicros> for PicoUsd {
    fn from(micros: UsdMicros) -> Self {
        Self(u128::from(micros.0) * PICOS_PER_MICRO)
    }
}

/// What one bitcoin costs, in micro-dollars. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "u64", into = "u64"))]
pub struct BtcPrice(UsdMicros);

impl BtcPrice {
    /// A price of `per_bitcoin` for one bitcoin.
    ///
    /// # Errors
    /// [`MoneyError::ZeroPrice`] for zero.
    pub fn from_usd_micros(per_bitcoin: UsdMicros) -> Result<Self, MoneyError> {
        if per_bitcoin == UsdMicros::ZERO { Err(MoneyError::ZeroPrice) } else { Ok(Self(per_bitcoin)) }
    }

    /// A price from a decimal number of dollars, such as `100000` or `98765.43`.
    ///
    /// # Errors
    /// As [`UsdMicros::parse`], and [`MoneyError::ZeroPrice`] for zero.
    pub fn parse(dollars: &str) -> Result<Self, MoneyError> {
        UsdMicros::parse(dollars).and_then(Self::from_usd_micros)
    }

    /// What an amount of bitcoin is worth at this price, rounded up.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`].
    pub fn value_rounding_up(self, amount: Msats) -> Result<UsdMicros, MoneyError> {
        let product = u128::from(amount.get()) * u128::from(self.usd_micros().get());
        let micros = product.div_ceil(MSATS_PER_BTC);
        UsdMicros::new(u64::try_from(micros).map_err(|_| MoneyError::TooLarge)?)
    }

    /// What one bitcoin costs.
    #[must_use]
    pub const fn usd_micros(self) -> UsdMicros {
        self.0
    }
}

impl TryFrom<u64> for BtcPrice {
    type Error = MoneyError;
    fn try_from(micros: u64) -> Result<Self, MoneyError> {
        UsdMicros::new(micros).and_then(Self::from_usd_micros)
    }
}

impl From<BtcPrice> for u64 {
    fn from(price: BtcPrice) -> Self {
        price.0.0
    }
}

impl fmt::Display for BtcPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} USD", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_cost_their_rate_rounded_up() {
        let minute = NonZeroU64::new(60).unwrap();
        let price = UsdMicros::parse("0.006").unwrap();
        assert_eq!(PicoUsd::of_units_rounding_up(60, price, minute), Ok(PicoUsd::new(6_000_000_000)));
        assert_eq!(PicoUsd::of_units_rounding_up(1, price, minute), Ok(PicoUsd::new(100_000_000)));
        let third = NonZeroU64::new(3).unwrap();
        assert_eq!(
            PicoUsd::of_units_rounding_up(1, UsdMicros::new(1).unwrap(), third),
            Ok(PicoUsd::new(333_334))
        );
        assert_eq!(
            PicoUsd::of_units_rounding_up(u64::MAX, UsdMicros::MAX, minute),
            Err(MoneyError::TooLarge)
        );
    }

    #[test]
    fn dollars_are_decimals_and_nothing_else() {
        assert_eq!(UsdMicros::parse("0.0361").unwrap(), UsdMicros::new(36_100).unwrap());
        assert_eq!(UsdMicros::parse("100000").unwrap().to_string(), "100000");
        assert_eq!(UsdMicros::new(36_100).unwrap().to_string(), "0.0361");
        for wrong in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,000", "0.0000001", " 1", "NaN", "१"] {
            assert_eq!(UsdMicros::parse(wrong), Err(MoneyError::NotADecimal), "{wrong:?}");
        }
        assert_eq!(UsdMicros::parse("99999999999999999999"), Err(MoneyError::TooLarge));
    }

    #[test]
    fn a_zero_price_is_refused() {
        assert_eq!(BtcPrice::parse("0"), Err(MoneyError::ZeroPrice));
    }

    proptest! {
        #[test]
        fn printing_and_parsing_dollars_are_inverse(micros in 0..=UsdMicros::MAX.get()) {
            let amount = UsdMicros::new(micros).unwrap();
            prop_assert_eq!(UsdMicros::parse(&amount.to_string()).unwrap(), amount);
        }

        /// msats ≥ cost, and one msat less would be below it: the rounding is up, and by less than one msat.
        #[test]
        fn a_price_is_the_least_msats_not_below_the_cost(
            picos in 0_u128..1_000_000_000_000_000_000,
            margin in 0_u32..=20_000,
            price in 1_000_000_u64..10_000_000_000_000,
        ) {
            let btc = BtcPrice::try_from(price).unwrap();
            let margin = BasisPoints::new(margin).unwrap();
            if let Ok(msats) = PicoUsd::new(picos).to_msats_with_margin_rounding_up(margin, btc) {
                let worth = |m: u128| m * u128::from(price) * PICOS_PER_MICRO * 10_000;
                let asked = picos * (10_000 + u128::from(margin.get())) * MSATS_PER_BTC;
                prop_assert!(worth(u128::from(msats.get())) >= asked);
                if let Some(less) = msats.get().checked_sub(1) {
                    prop_assert!(worth(u128::from(less)) < asked);
                }
            }
        }
    }
}
