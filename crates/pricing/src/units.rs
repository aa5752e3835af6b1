//! Prices of work that is not measured in tokens.

use crate::{Price, Priced, Terms};
use std::num::NonZeroU64;
use tithe_label::{Label, Vocabulary};
use tithe_money::{MoneyError, PicoUsd, UsdMicros};

/// The vocabulary of units. No name is reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitNames;

impl Vocabulary for UnitNames {
    const RESERVED: &'static [&'static str] = &[];
}

/// The name of a unit, in the singular: `second`, `image`.
pub type UnitName = Label<UnitNames>;

/// A price per unit: seconds of audio, images, pages.
///
/// ```
/// use std::num::NonZeroU64;
/// use tithe_clock::Timestamp;
/// use tithe_money::{BasisPoints, BtcPrice, Msats, UsdMicros};
/// use tithe_pricing::{BtcQuote, Priced, Terms, UnitName, UnitRate};
///
/// // $0.006 per minute of audio, measured in seconds.
/// let rate = UnitRate {
///     unit: UnitName::literal("second"),
///     price: UsdMicros::parse("0.006")?,
///     per: NonZeroU64::new(60).ok_or("zero")?,
/// };
/// let terms = Terms {
///     margin: BasisPoints::from_percent(50)?,
///     fixed_cost: UsdMicros::ZERO,
///     btc: BtcQuote { price: BtcPrice::parse("100000")?, as_of: Timestamp::UNIX_EPOCH },
/// };
///
/// // Five minutes at most; three were needed.
/// let quote = rate.quote(300, &terms)?;
/// let paid = quote.full_amount()?.to_msats();
/// let split = quote.split(&180, paid, Msats::ZERO)?;
/// assert_eq!(quote.max_price().msats, Msats::new(45_000)?);
/// assert_eq!(split.charged, Msats::new(27_000)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UnitRate {
    /// The unit that usage is measured in.
    pub unit: UnitName,
    /// The price of `per` units.
    pub price: UsdMicros,
    /// The number of units that the price is for.
    pub per: NonZeroU64,
}

/// The price of a piece of work that is measured in units, with its rate frozen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UnitQuote {
    /// The price per unit.
    pub rate: UnitRate,
    /// The margin, fixed cost and BTC price.
    pub terms: Terms,
    /// The most units that the work may use.
    pub max_units: u64,
    /// The maximum price. The work is never charged above it.
    pub max: Price,
}

impl UnitRate {
    /// Quotes work that uses at most `max_units`.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] if the price cannot be expressed.
    pub fn quote(&self, max_units: u64, terms: &Terms) -> Result<UnitQuote, MoneyError> {
        Ok(UnitQuote { rate: *self, terms: *terms, max_units, max: self.price(max_units, terms)? })
    }

    /// The selling price of `units`: cost times (1 + margin), rounded up once.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] if the price cannot be expressed.
    pub fn price(&self, units: u64, terms: &Terms) -> Result<Price, MoneyError> {
        let cost = PicoUsd::of_units_rounding_up(units, self.price, self.per)?;
        Price::of(cost.checked_add(terms.fixed_cost.into())?, terms)
    }
}

impl Priced for UnitQuote {
    type Usage = u64;

    fn max_price(&self) -> Price {
        self.max
    }

    fn price(&self, units: &u64) -> Result<Price, MoneyError> {
        self.rate.price(*units, &self.terms)
    }
}
