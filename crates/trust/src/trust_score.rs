//! An identity's trust score, and how its interactions change it.

use crate::score::share;
use crate::{NostrPubkey, Score, Tier, TrustPolicy};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_money::Msats;

const DAY: Duration = TrustPolicy::DAY;

/// The result of a piece of work for an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interaction {
    /// The work was completed.
    Success {
        /// The amount that the customer paid for it, without refunds and without the pool's part.
        paid: Msats,
    },
    /// The work was rejected, or failed because of the customer's request.
    Fault,
}

/// An identity with its trust score.
///
/// The stored score is the one at the last write. The decay since then is computed on read ([`TrustScore::score_at`])
/// and stored with the next interaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TrustScore {
    /// The identity's public key.
    pub pubkey: NostrPubkey,
    /// The score at the last write.
    pub score: Score,
    /// The points gained in the day that ends at [`TrustScore::gains_reset_at`].
    pub gained_today: Score,
    /// When the day that `gained_today` counts ends; `None` before the first gain.
    pub gains_reset_at: Option<Timestamp>,
    /// When the current absence started: the time of the last payment, moved forward by the days that have already been
    /// charged.
    pub away_since: Timestamp,
    /// The number of completed, rejected and failed pieces of work.
    pub interactions: u64,
    /// When the identity last authenticated or had work end.
    pub last_seen: Timestamp,
    /// When the identity was first seen.
    pub created_at: Timestamp,
    /// When the row last changed.
    pub updated_at: Timestamp,
}

impl TrustScore {
    /// The trust score of an identity that has not been seen before.
    #[must_use]
    pub const fn new(pubkey: NostrPubkey, now: Timestamp) -> Self {
        Self {
            pubkey,
            score: Score::ZERO,
            gained_today: Score::ZERO,
            gains_reset_at: None,
            away_since: now,
            interactions: 0,
            last_seen: now,
            created_at: now,
            updated_at: now,
        }
    }

    /// The score now, after decay.
    #[must_use]
    pub fn score_at(&self, policy: &TrustPolicy, now: Timestamp) -> Score {
        let days = self.days_lost(policy, now);
        self.score
            .saturating_sub(Score::from_millis(policy.fade_per_day.millis().saturating_mul(days.into())))
    }

    /// The tier now.
    #[must_use]
    pub fn tier_at(&self, policy: &TrustPolicy, now: Timestamp) -> Tier {
        policy.tier(self.score_at(policy, now))
    }

    /// The identity after it has authenticated.
    #[must_use]
    pub fn seen(&self, now: Timestamp) -> Self {
        Self { last_seen: now.max(self.last_seen), updated_at: now.max(self.updated_at), ..self.clone() }
    }

    /// The identity after a piece of work has ended.
    #[must_use]
    pub fn after(&self, interaction: Interaction, policy: &TrustPolicy, now: Timestamp) -> Self {
        let mut next = self.seen(now);
        // The decay is now part of the score: its days must not be counted again.
        next.score = self.score_at(policy, now);
        next.away_since = self.away_since + DAY * self.days_lost(policy, now);
        next.interactions = self.interactions.saturating_add(1);
        match interaction {
            Interaction::Success { paid } => next.earn(paid, policy, now),
            Interaction::Fault => next.score = next.score.saturating_sub(policy.fault),
        }
        next
    }

    /// Adds the points that a payment earns, and ends the absence in proportion to the payment's share of the upkeep.
    fn earn(&mut self, paid: Msats, policy: &TrustPolicy, now: Timestamp) {
        if paid.is_zero() {
            return;
        }
        if self.gains_reset_at.is_none_or(|reset| reset <= now) {
            self.gained_today = Score::ZERO;
            self.gains_reset_at = Some(now + DAY);
        }
        let (paid, full) = (paid.get(), policy.full_payment.get());
        let room = policy.day_gain_max.saturating_sub(self.gained_today);
        let gain = policy.success.share(paid, full).min(room);
        self.score = self.score.saturating_add(gain);
        self.gained_today = self.gained_today.saturating_add(gain);
        let upkeep = policy.upkeep(self.score).get();
        let away = u64::try_from(now.since(self.away_since).as_micros()).unwrap_or(u64::MAX);
        self.away_since = self.away_since + Duration::from_micros(share(away, paid, upkeep));
    }

    /// The whole days of absence that cost points and are not part of the stored score yet.
    fn days_lost(&self, policy: &TrustPolicy, now: Timestamp) -> u32 {
        let beyond = now.since(self.away_since).saturating_sub(policy.away_after);
        u32::try_from(beyond.as_secs() / DAY.as_secs()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn sats(n: u64) -> Msats {
        Msats::new(n * 1_000).unwrap()
    }

    fn paid(n: u64) -> Interaction {
        Interaction::Success { paid: sats(n) }
    }

    fn somebody() -> TrustScore {
        TrustScore::new(NostrPubkey::restore(&"a".repeat(64)).unwrap(), START)
    }

    fn with_points(points: u32) -> TrustScore {
        TrustScore { score: Score::points(points), ..somebody() }
    }

    fn after_days(days: u64) -> Timestamp {
        START + Duration::from_hours(24 * days)
    }

    #[test]
    fn a_payment_earns_in_proportion_up_to_a_full_one() {
        let policy = TrustPolicy::default();
        for (msats, millis) in
            [(50_000, 2_000), (25_000, 1_000), (1_000, 40), (24, 0), (0, 0), (9_000_000, 2_000)]
        {
            let paid = Interaction::Success { paid: Msats::new(msats).unwrap() };
            let next = somebody().after(paid, &policy, START);
            assert_eq!(next.score, Score::from_millis(millis), "{msats}");
            assert_eq!(next.interactions, 1);
        }
    }

    #[test]
    fn a_day_adds_no_more_than_its_limit() {
        let policy = TrustPolicy::default();
        let day = (0..10).fold(somebody(), |one, _| one.after(paid(50), &policy, START));
        assert_eq!(day.score, Score::points(6));
        let almost = START + DAY - Duration::from_micros(1);
        assert_eq!(day.after(paid(50), &policy, almost).score, Score::points(6));
        let next = day.after(paid(50), &policy, START + DAY);
        assert_eq!((next.score, next.gained_today), (Score::points(8), Score::points(2)));
    }

    #[test]
    fn a_fault_costs_more_than_a_success_earns_and_never_more_than_there_is() {
        let policy = TrustPolicy::default();
        assert_eq!(with_points(7).after(Interaction::Fault, &policy, START).score, Score::points(2));
        assert_eq!(with_points(3).after(Interaction::Fault, &policy, START).score, Score::ZERO);
    }

    #[test]
    fn an_absence_takes_a_point_a_day_after_a_month() {
        let policy = TrustPolicy::default();
        let one = with_points(50);
        for (days, points) in [(0, 50), (30, 50), (31, 49), (40, 40), (80, 0), (10_000, 0)] {
            assert_eq!(one.score_at(&policy, after_days(days)), Score::points(points), "{days}");
        }
        assert_eq!(one.tier_at(&policy, after_days(31)), Tier::Established);
    }

    #[test]
    fn an_absence_is_paid_for_once() {
        let policy = TrustPolicy::default();
        let free = Interaction::Success { paid: Msats::ZERO };
        let half_a_day = Duration::from_hours(12);
        let seen = with_points(50).after(free, &policy, after_days(35) + half_a_day);
        assert_eq!(seen.score, Score::points(45));
        assert_eq!(seen.score_at(&policy, after_days(35) + half_a_day), Score::points(45));
        assert_eq!(seen.score_at(&policy, after_days(36)), Score::points(44));
        assert_eq!(seen.score_at(&policy, after_days(40)), Score::points(40));
    }

    #[test]
    fn taking_from_the_pool_ends_no_absence_and_a_payment_ends_its_part_of_it() {
        let policy = TrustPolicy::default();
        let free = Interaction::Success { paid: Msats::ZERO };
        let now = after_days(20);
        assert_eq!(with_points(50).after(free, &policy, now).away_since, START);
        assert_eq!(with_points(50).seen(now).away_since, START);
        assert_eq!(with_points(6).after(paid(25), &policy, now).away_since, after_days(10));
        assert_eq!(with_points(6).after(paid(50), &policy, now).away_since, now);
        // Two more points make 50, which need 250 sats of upkeep.
        assert_eq!(with_points(48).after(paid(125), &policy, now).away_since, after_days(10));
        assert_eq!(with_points(48).after(paid(250), &policy, now).away_since, now);
    }

    proptest! {
        /// The decay of an absence does not depend on the reads and writes in between.
        #[test]
        fn reading_and_writing_in_between_changes_nothing(hours in proptest::collection::vec(0_u64..400, 0..20)) {
            let policy = TrustPolicy::default();
            let (mut now, mut one) = (START, with_points(300));
            for hours in hours {
                now = now + Duration::from_hours(hours);
                one = one.after(Interaction::Success { paid: Msats::ZERO }, &policy, now);
            }
            prop_assert_eq!(one.score, with_points(300).score_at(&policy, now));
        }

        /// Splitting a payment never earns more than the single payment.
        #[test]
        fn many_small_payments_earn_no_more_than_few_large_ones(parts in proptest::collection::vec(1_u64..60_000, 1..40)) {
            let policy = TrustPolicy { day_gain_max: Score::points(1_000_000), ..TrustPolicy::default() };
            let pay = |one: TrustScore, msats: u64| {
                one.after(Interaction::Success { paid: Msats::new(msats).unwrap() }, &policy, START)
            };
            let total: u64 = parts.iter().sum();
            let earned = parts.into_iter().fold(somebody(), pay).score;
            prop_assert!(earned <= Score::from_millis(total * 2_000 / 50_000));
        }
    }
}
