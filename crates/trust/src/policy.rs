//! How trust is earned and lost, and why so.

use crate::{Score, Tier};
use std::time::Duration;
use tithe_money::Msats;

/// How trust is earned and lost. [`Default`] is the design's.
///
/// What each rule keeps out is shown by a simulation, whose table is in `docs/trust.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustPolicy {
    /// The score from which an identity is `established`.
    pub established: Score,
    /// The score from which it is `trusted`.
    pub trusted: Score,
    /// The score from which it is `elite`.
    pub elite: Score,
    /// What a success adds that the customer has paid [`TrustPolicy::full_payment`] or more for. A smaller payment adds in
    /// proportion, so that dust buys dust; what the pool has paid adds nothing, so that nobody climbs on its money.
    pub success: Score,
    /// The payment that earns the whole of [`TrustPolicy::success`].
    pub full_payment: Msats,
    /// What work takes that was rejected, or that failed through the customer's request. Trying out what gets through is
    /// not free.
    pub fault: Score,
    /// The most that a day can add, so that trust takes time, whatever is paid: whoever is found out loses more than money.
    pub day_gain_max: Score,
    /// For how long an identity that pays nothing keeps its score. Taking from the pool is not being there: who comes only to
    /// take would else stay for ever. A payment ends the part of an absence that it is of [`TrustPolicy::upkeep`].
    pub away_after: Duration,
    /// What each day after that takes.
    pub fade_per_day: Score,
}

impl TrustPolicy {
    /// How long the day of [`TrustPolicy::day_gain_max`] is: it begins with its first gain.
    pub const DAY: Duration = Duration::from_hours(24);

    /// The tier of an identity with that score.
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

    /// The tier above that score's, and how much is missing; `None` at the top.
    #[must_use]
    pub fn next_tier(&self, score: Score) -> Option<(Tier, Score)> {
        let steps =
            [(Tier::Established, self.established), (Tier::Trusted, self.trusted), (Tier::Elite, self.elite)];
        let above = self.tier(score);
        let next = steps.into_iter().find(|(tier, _)| *tier > above);
        next.map(|(tier, needed)| (tier, needed.saturating_sub(score)))
    }

    /// The payment that ends an absence: the more trust there is to keep, the more it takes. For an established identity
    /// it is a full payment; for others as many times that as their score is that of one.
    #[must_use]
    pub fn upkeep(&self, score: Score) -> Msats {
        let (unit, full) =
            (u128::from(self.established.millis().max(1)), u128::from(self.full_payment.get()));
        let upkeep = full * u128::from(score.max(self.established).millis().max(1)) / unit;
        u64::try_from(upkeep).ok().and_then(|upkeep| Msats::new(upkeep).ok()).unwrap_or(Msats::MAX)
    }

    /// Whether the tiers' scores rise.
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
