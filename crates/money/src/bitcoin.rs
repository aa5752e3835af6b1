//! Bitcoin amounts.

use crate::{BasisPoints, MoneyError};
use std::fmt;

/// Millisats in a sat.
const MSATS_PER_SAT: u64 = 1_000;

/// A whole number of millisatoshis, at most 21 million BTC: the unit the ledger counts in.
///
/// It always fits an `i64`, so every store can hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "u64", into = "u64"))]
pub struct Msats(u64);

impl Msats {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// All the bitcoin there can be: 21 million BTC.
    pub const MAX: Self = Self(2_100_000_000_000_000_000);

    /// An amount of `msats` millisats.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] above [`Msats::MAX`].
    pub const fn new(msats: u64) -> Result<Self, MoneyError> {
        if msats > Self::MAX.0 { Err(MoneyError::TooLarge) } else { Ok(Self(msats)) }
    }

    /// The amount as a number of millisats.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The amount as the signed number that stores and balances use.
    #[must_use]
    pub const fn to_i64(self) -> i64 {
        self.0.cast_signed()
    }

    /// The amount that a store's signed number holds.
    ///
    /// # Errors
    /// [`MoneyError::Negative`] below zero, [`MoneyError::TooLarge`] above [`Msats::MAX`].
    pub fn from_i64(msats: i64) -> Result<Self, MoneyError> {
        u64::try_from(msats).map_err(|_| MoneyError::Negative).and_then(Self::new)
    }

    /// Whether there is no money at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] above [`Msats::MAX`].
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_add(other.0).ok_or(MoneyError::TooLarge).and_then(Self::new)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`MoneyError::Negative`] when `other` is more.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_sub(other.0).map(Self).ok_or(MoneyError::Negative)
    }

    /// What is left after taking `other`, or nothing when `other` is more.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// A share of the amount, rounded down to the msat; the whole amount for a share of more than 100 %.
    #[must_use]
    pub fn share_rounding_down(self, share: BasisPoints) -> Self {
        let whole = u128::from(BasisPoints::WHOLE.get());
        let part = u128::from(self.0) * u128::from(share.get()) / whole;
        u64::try_from(part).map_or(self, |part| Self(part.min(self.0)))
    }

    /// Whole sats, rounding up: what an invoice must ask for.
    ///
    /// # Errors
    /// None in practice: every [`Msats`] rounds up to at most [`Sats::MAX`]. The type is checked all the same.
    pub fn to_sats_rounding_up(self) -> Result<Sats, MoneyError> {
        Sats::new(self.0.div_ceil(MSATS_PER_SAT))
    }

    /// Whole sats, rounding down: what a refund can pay.
    #[must_use]
    pub const fn to_sats_rounding_down(self) -> Sats {
        Sats(self.0 / MSATS_PER_SAT)
    }
}

impl TryFrom<u64> for Msats {
    type Error = MoneyError;
    fn try_from(msats: u64) -> Result<Self, MoneyError> {
        Self::new(msats)
    }
}

impl From<Msats> for u64 {
    fn from(msats: Msats) -> Self {
        msats.0
    }
}

impl From<Sats> for Msats {
    fn from(sats: Sats) -> Self {
        Self(sats.0 * MSATS_PER_SAT)
    }
}

impl fmt::Display for Msats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} msat", self.0)
    }
}

/// A whole number of satoshis, at most 21 million BTC: the unit invoices and people use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "u64", into = "u64"))]
pub struct Sats(u64);

impl Sats {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// The least that an invoice of whole sats can be for.
    pub const ONE: Self = Self(1);
    /// All the bitcoin there can be: 21 million BTC.
    pub const MAX: Self = Self(Msats::MAX.0 / MSATS_PER_SAT);

    /// An amount of `sats` satoshis.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] above [`Sats::MAX`].
    pub const fn new(sats: u64) -> Result<Self, MoneyError> {
        if sats > Self::MAX.0 { Err(MoneyError::TooLarge) } else { Ok(Self(sats)) }
    }

    /// The amount as a number of sats.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether there is no money at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The same amount in millisats.
    #[must_use]
    pub fn to_msats(self) -> Msats {
        self.into()
    }
}

impl TryFrom<u64> for Sats {
    type Error = MoneyError;
    fn try_from(sats: u64) -> Result<Self, MoneyError> {
        Self::new(sats)
    }
}

impl From<Sats> for u64 {
    fn from(sats: Sats) -> Self {
        sats.0
    }
}

impl fmt::Display for Sats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, if self.0 == 1 { "sat" } else { "sats" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn msats() -> impl Strategy<Value = Msats> {
        (0..=Msats::MAX.get()).prop_map(|n| Msats::new(n).unwrap())
    }

    proptest! {
        #[test]
        fn rounding_up_and_down_enclose_the_amount(amount in msats()) {
            let up = amount.to_sats_rounding_up().unwrap().to_msats();
            let down = amount.to_sats_rounding_down().to_msats();
            prop_assert!(down <= amount && amount <= up);
            let between = if amount.get() % 1_000 == 0 { 0 } else { 1_000 };
            prop_assert_eq!(up.checked_sub(down).unwrap().get(), between);
        }

        #[test]
        fn what_is_taken_and_what_is_left_add_up(a in msats(), b in msats()) {
            match a.checked_sub(b) {
                Ok(left) => prop_assert_eq!(left.checked_add(b).unwrap(), a),
                Err(error) => { prop_assert_eq!(error, MoneyError::Negative); prop_assert!(b > a); }
            }
        }

        #[test]
        fn a_sum_is_never_more_than_can_exist(a in msats(), b in msats()) {
            let exact = u128::from(a.get()) + u128::from(b.get());
            match a.checked_add(b) {
                Ok(sum) => prop_assert_eq!(u128::from(sum.get()), exact),
                Err(_) => prop_assert!(exact > u128::from(Msats::MAX.get())),
            }
        }

        #[test]
        fn stores_keep_every_amount(amount in msats()) {
            prop_assert_eq!(Msats::from_i64(amount.to_i64()).unwrap(), amount);
        }
    }

    #[test]
    fn a_share_is_rounded_down_and_never_more_than_the_whole() {
        for (amount, points, share) in [
            (0, 1_000, 0),
            (9, 1_000, 0),
            (12_345, 1_000, 1_234),
            (12_345, 10_000, 12_345),
            (12_345, 1_000_000, 12_345),
            (Msats::MAX.get(), 1_000, Msats::MAX.get() / 10),
        ] {
            let points = BasisPoints::new(points).unwrap();
            assert_eq!(Msats::new(amount).unwrap().share_rounding_down(points).get(), share);
        }
    }

    #[test]
    fn a_store_cannot_bring_in_a_negative_amount() {
        assert_eq!(Msats::from_i64(-1), Err(MoneyError::Negative));
        assert_eq!(Msats::from_i64(i64::MAX), Err(MoneyError::TooLarge));
    }

    #[test]
    fn one_sat_reads_as_one_sat() {
        assert_eq!(Sats::new(1).unwrap().to_string(), "1 sat");
        assert_eq!(Sats::new(2).unwrap().to_string(), "2 sats");
    }
}
