//! Ratios, as whole numbers.

use crate::MoneyError;
use std::fmt;

/// A ratio in hundredths of a percent: 10 % is 1 000. At most 1 000 000 (100 times).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "u32", into = "u32"))]
pub struct BasisPoints(u32);

impl BasisPoints {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The whole: 100 %.
    pub const WHOLE: Self = Self(10_000);
    /// The largest ratio: 100 times.
    pub const MAX: Self = Self(1_000_000);

    /// A ratio of `basis_points` hundredths of a percent.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] above [`BasisPoints::MAX`].
    pub const fn new(basis_points: u32) -> Result<Self, MoneyError> {
        if basis_points > Self::MAX.0 { Err(MoneyError::TooLarge) } else { Ok(Self(basis_points)) }
    }

    /// A ratio of whole percents.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] above 10 000 %.
    pub fn from_percent(percent: u32) -> Result<Self, MoneyError> {
        percent.checked_mul(100).ok_or(MoneyError::TooLarge).and_then(Self::new)
    }

    /// A ratio from a decimal number of percents with at most two decimals, such as `12.5`.
    ///
    /// # Errors
    /// [`MoneyError::NotADecimal`] when the text is anything else, [`MoneyError::TooLarge`] above 10 000 %.
    pub fn parse_percent(text: &str) -> Result<Self, MoneyError> {
        let hundredths = crate::dollars::parse_decimal(text, 2)?;
        u32::try_from(hundredths).map_err(|_| MoneyError::TooLarge).and_then(Self::new)
    }

    /// The ratio as a plain decimal number of percents, such as `12.5`.
    #[must_use]
    pub fn percents(self) -> impl fmt::Display {
        Percents(self)
    }

    /// The ratio in hundredths of a percent.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A ratio as a plain decimal number of percents: `12.5`.
struct Percents(BasisPoints);

impl fmt::Display for Percents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::dollars::write_decimal(f, u64::from(self.0.0), 2, 0)
    }
}

impl TryFrom<u32> for BasisPoints {
    type Error = MoneyError;
    fn try_from(basis_points: u32) -> Result<Self, MoneyError> {
        Self::new(basis_points)
    }
}

impl From<BasisPoints> for u32 {
    fn from(ratio: BasisPoints) -> Self {
        ratio.0
    }
}

impl fmt::Display for BasisPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.percents())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_read_and_print_as_decimals() {
        for (text, points, printed) in
            [("40", 4_000, "40 %"), ("12.5", 1_250, "12.5 %"), ("0.01", 1, "0.01 %")]
        {
            let ratio = BasisPoints::parse_percent(text).unwrap();
            assert_eq!(ratio.get(), points);
            assert_eq!(ratio.to_string(), printed);
        }
        assert_eq!(BasisPoints::parse_percent("-1"), Err(MoneyError::NotADecimal));
        assert_eq!(BasisPoints::parse_percent("10001"), Err(MoneyError::TooLarge));
    }
}
