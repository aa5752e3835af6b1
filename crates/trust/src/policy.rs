//! The trust policy: how trust is earned and lost.

use crate::{Score, Tier};
use std::time::Duration;
use tithe_money::Msats;

/// The rules by which trust is earned and lost. The default: tiers begin at 10, 50 and 200 points;
/// work that was paid with 50 sats or more earns 2 points, at most 6 a day; a fault costs 5; an identity that stays away for 30 days then loses a point a
/// day.
///
/// A simulation shows which attack each rule prevents; its results are in `docs/trust.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TrustPolicy {
    /// The minimum score of the tier `established`.
    pub established: Score,
    /// The minimum score of the tier `trusted`.
    pub trusted: Score,
    /// The minimum score of the tier `elite`.
    pub elite: Score,
    /// The points for completed work that the customer has paid [`TrustPolicy::full_payment`] or more for. A smaller
    /// payment earns proportionally less. The pool's part earns nothing, so nobody gains trust with the pool's money.
    pub success: Score,
    /// The payment that earns the full [`TrustPolicy::success`].
    pub full_payment: Msats,
    /// The points lost for work that was rejected, or that failed because of the customer's request. Probing the
    /// evaluation therefore has a price.
    pub fault: Score,
    /// The maximum gain per day. Trust takes time, whatever is paid, so an abuser who is detected loses more than
    /// money.
    pub day_gain_max: Score,
    /// How long an identity that pays nothing keeps its score. Receiving free work does not count as activity,
    /// otherwise an identity that only takes would keep its score for ever. A payment ends the absence in proportion to
    /// its share of [`TrustPolicy::upkeep`].
    pub away_after: Duration,
    /// The points lost on each further day of absence.
    pub fade_per_day: Score,
}

impl TrustPolicy {
    /// The length of the day of [`TrustPolicy::day_gain_max`], which starts with the first gain.
    pub const DAY: Duration = Duration::from_hours(24);

    /// The tier of an identity with this score.
    #[must_use]
    pub fn tier(&self, score: Score) -> Tier {
        if score >= self.elite {
            Tier::Elite
        } else if score >= self.trusted {
            Tier::Trusted
        } else if score >= self.established {
            Tier::Established
        } else {
            Tier::New
        }
    }

    /// The next higher tier and the points missing for it; `None` at the top.
    #[must_use]
    pub fn next_tier(&self, score: Score) -> Option<(Tier, Score)> {
        let steps =
            [(Tier::Established, self.established), (Tier::Trusted, self.trusted), (Tier::Elite, self.elite)];
        let above = self.tier(score);
        let next = steps.into_iter().find(|(tier, _)| *tier > above);
        next.map(|(tier, needed)| (tier, needed.saturating_sub(score)))
    }

    /// The payment that ends an absence. It grows with the score: for a score at the `established` threshold it is one
    /// full payment, and for others it is proportional to the score.
    #[must_use]
    pub fn upkeep(&self, score: Score) -> Msats {
        let (unit, full) =
            (u128::from(self.established.millis().max(1)), u128::from(self.full_payment.get()));
        let upkeep = full * u128::from(score.max(self.established).millis().max(1)) / unit;
        u64::try_from(upkeep).ok().and_then(|upkeep| Msats::new(upkeep).ok()).unwrap_or(Msats::MAX)
    }

    /// Returns true if the tiers' minimum scores are increasing.
    #[must_use]
    pub fn is_in_order(&self) -> bool {
        self.established <= self.trusted && self.trusted <= self.elite
    }
}

impl Default for TrustPolicy {
    fn default() -> Self {
        Self {
            established: Score::points(10),
            trusted: Score::points(50),
            elite: Score::points(200),
            success: Score::points(2),
            // What an established identity may take in a day: a point costs 25 sats.
            full_payment: Msats::new(50_000).unwrap_or(Msats::MAX),
            fault: Score::points(5),
            day_gain_max: Score::points(6),
            away_after: Duration::from_hours(30 * 24),
            fade_per_day: Score::points(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_begin_at_their_scores() {
        let policy = TrustPolicy::default();
        for (points, tier, next) in [
            (0, Tier::New, Some((Tier::Established, 10))),
            (9, Tier::New, Some((Tier::Established, 1))),
            (10, Tier::Established, Some((Tier::Trusted, 40))),
            (49, Tier::Established, Some((Tier::Trusted, 1))),
            (50, Tier::Trusted, Some((Tier::Elite, 150))),
            (200, Tier::Elite, None),
            (100_000, Tier::Elite, None),
        ] {
            let score = Score::points(points);
            assert_eq!(policy.tier(score), tier, "{points}");
            assert_eq!(policy.next_tier(score), next.map(|(tier, points)| (tier, Score::points(points))));
        }
        assert_eq!(policy.tier(Score::from_millis(9_999)), Tier::New);
        assert!(policy.is_in_order());
    }

    #[test]
    fn keeping_more_trust_costs_more() {
        let policy = TrustPolicy::default();
        let sats = |points| policy.upkeep(Score::points(points)).get() / 1_000;
        assert_eq!([0, 5, 10, 50, 200, 1_000].map(sats), [50, 50, 50, 250, 1_000, 5_000]);
        let free = TrustPolicy { established: Score::ZERO, ..policy };
        assert_eq!(free.upkeep(Score::ZERO), free.full_payment);
        assert_eq!(free.upkeep(Score::from_millis(u64::MAX)), Msats::MAX);
    }

    #[test]
    fn tiers_that_begin_at_the_same_score_are_the_highest() {
        let flat = TrustPolicy {
            established: Score::ZERO,
            trusted: Score::ZERO,
            elite: Score::ZERO,
            ..TrustPolicy::default()
        };
        assert_eq!((flat.tier(Score::ZERO), flat.next_tier(Score::ZERO)), (Tier::Elite, None));
    }
}
