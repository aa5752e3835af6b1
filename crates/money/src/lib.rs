//! Amounts of money that cannot overflow, go negative or round by accident.
//!
//! There are three units, each with its own type: [`Msats`] (used by the ledger), [`Sats`] (used by invoices) and
//! [`UsdMicros`] (used by model prices). All arithmetic is checked, a conversion rounds only if its name states the
//! direction, and no float ever holds money: [`UsdMicros`] is printed and parsed as a decimal.
//!
//! In Tithe, a price rounds **up** to the msat, an invoice rounds **up** to the sat, a refund
//! rounds **down** to the sat.
//!
//! ```
//! use tithe_money::{BtcPrice, Msats, PicoUsd, Sats, UsdMicros};
//!
//! let price = BtcPrice::from_usd_micros(UsdMicros::parse("100000")?)?;
//! let cost = PicoUsd::new(36_120_000_000); // 3.612 cents
//! let msats = cost.to_msats_rounding_up(price)?;
//! assert_eq!(msats, Msats::new(36_120)?);
//! assert_eq!(msats.to_sats_rounding_up()?, Sats::new(37)?);
//! assert_eq!(msats.to_sats_rounding_down(), Sats::new(36)?);
//! # Ok::<(), tithe_money::MoneyError>(())
//! ```

mod bitcoin;
mod dollars;
mod ratio;

pub use bitcoin::{Msats, Sats};
pub use dollars::{BtcPrice, PicoUsd, UsdMicros};
pub use ratio::BasisPoints;

/// The reason why an amount is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MoneyError {
    /// The result is larger than any amount that can exist (21 million BTC, or the range of [`UsdMicros`]).
    #[error("amount out of range: too large")]
    TooLarge,
    /// The result would be below zero.
    #[error("amount out of range: below zero")]
    Negative,
    /// The text is not a plain decimal number, or has more decimals than the unit.
    #[error("invalid decimal: expected a plain number without excess decimals")]
    NotADecimal,
    /// A price of zero cannot be used for conversion.
    #[error("invalid price: expected a price above zero")]
    ZeroPrice,
}
