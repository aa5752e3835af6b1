//! What all quotes have in common.

use crate::{CostShares, CostSplit, Price};
use std::fmt::Debug;
use tithe_money::{MoneyError, Msats, Sats};

/// A quote for a piece of work: its maximum price, and its actual price once the usage is known.
///
/// [`crate::Quote`] prices tokens and [`crate::UnitQuote`] any other unit. A service with other prices implements it itself.
pub trait Priced: Clone + Debug + Eq {
    /// What is measured when the work is done.
    type Usage: Clone + Debug + Eq;

    /// The maximum price. The work is never charged above it, except for rounding to a whole sat.
    fn max_price(&self) -> Price;

    /// The price of `usage` at the quote's rates, which may exceed the maximum.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] if the price cannot be expressed.
    fn price(&self, usage: &Self::Usage) -> Result<Price, MoneyError>;

    /// The price of `usage`; the maximum price for usage so large that its price cannot be expressed, which only a broken
    /// backend reports.
    fn price_or_max(&self, usage: &Self::Usage) -> Price {
        self.price(usage).unwrap_or_else(|_| self.max_price())
    }

    /// The amount to invoice before the work starts: the maximum price in whole sats, at least one.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] if the amount cannot be expressed.
    fn full_amount(&self) -> Result<Sats, MoneyError> {
        Ok(self.max_price().msats.to_sats_rounding_up()?.max(Sats::new(1)?))
    }

    /// Splits a payment for the work, given the actual usage. `reserved` is the amount reserved from the pool, which is
    /// used first.
    ///
    /// The charge never exceeds the full amount, whatever the usage. The caller books the split.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] if the full amount cannot be expressed.
    fn split(&self, usage: &Self::Usage, paid: Msats, reserved: Msats) -> Result<CostSplit, MoneyError> {
        let price = self.price_or_max(usage);
        let limit = self.full_amount()?.to_msats();
        CostSplit::new(price, CostShares::of(price.msats, limit, reserved, paid)?, paid)
    }
}
