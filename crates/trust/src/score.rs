//! Trust scores and tiers.

use std::fmt;
use std::str::FromStr;

/// The trust of an identity, in thousandths of a point. Never below zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Score(u64);

impl Score {
    /// No trust.
    pub const ZERO: Self = Self(0);

    const MILLIS_PER_POINT: u64 = 1_000;

    /// A score of whole points.
    #[must_use]
    pub const fn points(points: u32) -> Self {
        #[expect(clippy::as_conversions, reason = "u32 to u64 is lossless; From is not const")]
        Self(points as u64 * Self::MILLIS_PER_POINT)
    }

    /// A score in thousandths of a point.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The score in thousandths of a point.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Adds `other`.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Subtracts `other`, down to zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The fraction `of / whole` of the score, rounded down; the whole score from `whole` on.
    #[must_use]
    pub fn share(self, of: u64, whole: u64) -> Self {
        Self(share(self.0, of, whole))
    }
}

/// The fraction `of / whole` of `amount`, rounded down; all of `amount` from `whole` on.
pub(crate) fn share(amount: u64, of: u64, whole: u64) -> u64 {
    if of >= whole {
        return amount;
    }
    // The result is at most `amount`, so it fits.
    u64::try_from(u128::from(amount) * u128::from(of) / u128::from(whole)).unwrap_or(amount)
}

impl fmt::Display for Score {
    /// Points as a plain decimal number: `12.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (points, millis) = (self.0 / Self::MILLIS_PER_POINT, self.0 % Self::MILLIS_PER_POINT);
        if millis == 0 {
            return write!(f, "{points}");
        }
        write!(f, "{points}.{}", format!("{millis:03}").trim_end_matches('0'))
    }
}

/// The text is not a number of points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a number of points from 0 to 1000000 with at most three decimals")]
pub struct InvalidScore;

impl FromStr for Score {
    type Err = InvalidScore;

    /// Parses points as written by [`Score`]'s `Display`.
    fn from_str(text: &str) -> Result<Self, InvalidScore> {
        const MOST: u64 = 1_000_000;
        let (points, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(points) || !digits(decimals) || decimals.len() > 3 {
            return Err(InvalidScore);
        }
        let points: u64 = points.parse().map_err(|_| InvalidScore)?;
        let millis: u64 = format!("{decimals:0<3}").parse().map_err(|_| InvalidScore)?;
        if points > MOST || points == MOST && millis > 0 {
            return Err(InvalidScore);
        }
        Ok(Self(points * Self::MILLIS_PER_POINT + millis))
    }
}

/// The trust tier of an identity, determined by its score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Tier {
    /// No identity.
    Anonymous,
    /// An identity that has not earned trust yet.
    New,
    /// An identity that has paid a few times.
    Established,
    /// An identity that has paid for some time.
    Trusted,
    /// An identity that has paid for a long time.
    Elite,
}

impl Tier {
    /// All tiers, the lowest first.
    pub const ALL: [Self; 5] = [Self::Anonymous, Self::New, Self::Established, Self::Trusted, Self::Elite];

    /// The name used by the API and the stores.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::New => "new",
            Self::Established => "established",
            Self::Trusted => "trusted",
            Self::Elite => "elite",
        }
    }
}

/// There is no tier of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown tier: expected anonymous, new, established, trusted or elite, got {0:?}")]
pub struct UnknownTier(String);

impl FromStr for Tier {
    type Err = UnknownTier;
    fn from_str(name: &str) -> Result<Self, UnknownTier> {
        let found = Self::ALL.into_iter().find(|tier| tier.as_str() == name);
        found.ok_or_else(|| UnknownTier(name.to_owned()))
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_read_back_as_they_are_written() {
        for (millis, text) in
            [(0, "0"), (12_500, "12.5"), (40, "0.04"), (7, "0.007"), (1_000_000_000, "1000000")]
        {
            assert_eq!(Score::from_millis(millis).to_string(), text);
            assert_eq!(text.parse(), Ok(Score::from_millis(millis)));
        }
        for wrong in
            ["", "-1", "1.2345", "1.", ".5", "1e3", "1000000.1", "1000001", " 1", "99999999999999999999"]
        {
            assert_eq!(wrong.parse::<Score>(), Err(InvalidScore), "{wrong:?}");
        }
    }

    #[test]
    fn a_share_is_never_more_than_the_whole() {
        let two = Score::points(2);
        assert_eq!(two.share(0, 50), Score::ZERO);
        assert_eq!(two.share(1, 50_000), Score::ZERO);
        assert_eq!(two.share(25, 50), Score::points(1));
        assert_eq!(two.share(51, 50), two);
        assert_eq!(two.share(0, 0), two);
    }

    #[test]
    fn tiers_have_distinct_names() {
        for tier in Tier::ALL {
            assert_eq!(tier.to_string().parse(), Ok(tier));
        }
    }
}
