//! Amounts of money that cannot overflow, go negative or round by accident.
//!
//! Three units, one type each: [`Msats`] (what the ledger counts in), [`Sats`] (what an invoice asks for) and
//! [`UsdMicros`] (what a model's price is quoted in). All arithmetic is checked, no conversion rounds unless its name
//! says which way, and no float ever holds money: [`UsdMicros`] is printed and parsed as a decimal.
//!
//! The directions are the design's: a price rounds **up** to the msat, an invoice rounds **up** to the sat, a refund
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

/// Why an amount could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MoneyError {
    /// The result is larger than any amount that can exist (21 million BTC, or the range of [`UsdMicros`]).
    #[error("the amount is larger than can exist")]
    TooLarge,
    /// The result would be below zero.
    #[error("the amount would be below zero")]
    Negative,
    /// The text is not a plain decimal number, or has more decimals than the unit.
    #[error("not a plain decimal number, or one with too many decimals")]
    NotADecimal,
    /// A price of zero cannot convert anything.
    #[error("a price must be above zero")]
    ZeroPrice,
}
