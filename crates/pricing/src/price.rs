//! Selling prices, and the terms that they depend on.

use crate::BtcQuote;
use tithe_clock::Timestamp;
use tithe_money::{BasisPoints, MoneyError, Msats, PicoUsd, UsdMicros};

/// The operator's terms at the time of the quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Terms {
    /// The margin, added to the cost.
    pub margin: BasisPoints,
    /// The fixed cost, added to each request's token cost before the margin.
    pub fixed_cost: UsdMicros,
    /// The BTC price and its time.
    pub btc: BtcQuote,
}

impl Terms {
    /// The time of the terms: that of the BTC price, which is at most as old as the price feed lets it be. It decides which of a model's
    /// dated prices are in force.
    #[must_use]
    pub const fn as_of(&self) -> Timestamp {
        self.btc.as_of
    }
}

/// A price in both currencies, including the margin, each rounded up from the exact value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Price {
    /// The price in bitcoin.
    pub msats: Msats,
    /// The price in dollars.
    pub usd: UsdMicros,
}

impl Price {
    /// The selling price of a cost: the cost times (1 + margin), rounded up once.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] if the price cannot be expressed.
    pub fn of(cost: PicoUsd, terms: &Terms) -> Result<Self, MoneyError> {
        Ok(Self {
            msats: cost.to_msats_with_margin_rounding_up(terms.margin, terms.btc.price)?,
            usd: cost.to_usd_micros_with_margin_rounding_up(terms.margin)?,
        })
    }
}
