//! The free tier's rules: who is served from the pool, and how much it pays.

use std::fmt;
use tithe_money::{BasisPoints, Msats, Sats};
use tithe_trust::Tier;

/// Who pays for a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Serve {
    /// The pool pays all of it.
    Free,
    /// The pool pays a part of it.
    Partial,
    /// The pool pays nothing: the customer pays through the ordinary gate.
    Gate,
}

impl Serve {
    /// All ways.
    pub const ALL: [Self; 3] = [Self::Free, Self::Partial, Self::Gate];

    /// The name used by the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Partial => "partial",
            Self::Gate => "gate",
        }
    }
}

impl fmt::Display for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The split of an estimate between pool and customer: `absorb + charge` is the estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Who pays.
    pub serve: Serve,
    /// The amount that the pool pays.
    pub absorb: Msats,
    /// The amount that the customer pays.
    pub charge: Msats,
}

impl Decision {
    /// The customer pays everything.
    #[must_use]
    pub const fn gate(estimate: Msats) -> Self {
        Self { serve: Serve::Gate, absorb: Msats::ZERO, charge: estimate }
    }

    /// The pool pays `absorb` of `estimate`, at most all of it.
    fn absorbing(absorb: Msats, estimate: Msats) -> Self {
        let absorb = absorb.min(estimate);
        let charge = estimate.saturating_sub(absorb);
        let serve = match (absorb.is_zero(), charge.is_zero()) {
            (true, _) => return Self::gate(estimate),
            (false, true) => Serve::Free,
            (false, false) => Serve::Partial,
        };
        Self { serve, absorb, charge }
    }
}

/// The daily budget of each tier. Anonymous customers have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Budgets {
    /// New identities: zero, unless the operator wants to give to unknown identities.
    pub new: Sats,
    /// Established identities.
    pub established: Sats,
    /// Trusted identities.
    pub trusted: Sats,
    /// Elite identities.
    pub elite: Sats,
}

/// The pool's balances at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolView {
    /// The total balance.
    pub balance: Msats,
    /// The balance that is not reserved.
    pub available: Msats,
    /// The amount reserved for unpaid offers.
    pub offered: Msats,
}

/// The rules of the free tier. The default: no budget for new identities, 50, 200 and 1 000 sats a day for established, trusted
/// and elite ones, an initial funding of 10 000 sats, a tithe of 10 %, and offers that hold at most half of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FreeTierPolicy {
    /// The daily budget of each tier.
    pub budgets: Budgets,
    /// The pool's initial funding.
    pub pool_initial: Sats,
    /// The share of every payment for work that goes into the pool.
    pub tithe: BasisPoints,
    /// The share of the pool that all unpaid offers together may hold: a customer who requests offers and never pays
    /// cannot block more than this.
    pub offers_share: BasisPoints,
}

impl FreeTierPolicy {
    /// The daily budget of an identity in this tier.
    #[must_use]
    pub fn budget(&self, tier: Tier) -> Msats {
        match tier {
            Tier::Anonymous => Msats::ZERO,
            Tier::New => self.budgets.new.to_msats(),
            Tier::Established => self.budgets.established.to_msats(),
            Tier::Trusted => self.budgets.trusted.to_msats(),
            Tier::Elite => self.budgets.elite.to_msats(),
        }
    }

    /// Decides who pays for a piece of work. The pool pays the minimum of the remaining budget, the pool's balance and
    /// the estimate.
    ///
    /// `used_today` is the part of the budget in use: grants plus reservations.
    #[must_use]
    pub fn decide(&self, tier: Tier, used_today: Msats, pool_available: Msats, estimate: Msats) -> Decision {
        let left = self.budget(tier).saturating_sub(used_today);
        Decision::absorbing(left.min(pool_available), estimate)
    }

    /// Decides who pays for a piece of work that is invoiced before it runs.
    ///
    /// The pool's part of a partial payment is an offer, reserved until the customer has paid the other part. An
    /// identity has at most one offer (`has_offer`), and all offers together hold at most
    /// [`FreeTierPolicy::offers_share`] of the pool. Invoices are in whole sats, so the offer is rounded down.
    #[must_use]
    pub fn decide_invoiced(
        &self,
        tier: Tier,
        used_today: Msats,
        has_offer: bool,
        pool: PoolView,
        estimate: Sats,
    ) -> Decision {
        let estimate = estimate.to_msats();
        let decision = self.decide(tier, used_today, pool.available, estimate);
        match decision.serve {
            Serve::Free | Serve::Gate => decision,
            Serve::Partial if has_offer => Decision::gate(estimate),
            Serve::Partial => {
                let room = pool.balance.share_rounding_down(self.offers_share).saturating_sub(pool.offered);
                let whole = decision.absorb.min(room).to_sats_rounding_down().to_msats();
                Decision::absorbing(whole, estimate)
            }
        }
    }

    /// The pool's share of a customer's payment, rounded down to the msat.
    #[must_use]
    pub fn tithe_of(&self, paid: Msats) -> Msats {
        paid.share_rounding_down(self.tithe)
    }
}

impl Default for FreeTierPolicy {
    fn default() -> Self {
        let sats = |n| Sats::new(n).unwrap_or(Sats::ZERO);
        let percent = |n| BasisPoints::from_percent(n).unwrap_or(BasisPoints::ZERO);
        Self {
            budgets: Budgets {
                new: Sats::ZERO,
                established: sats(50),
                trusted: sats(200),
                elite: sats(1_000),
            },
            pool_initial: sats(10_000),
            tithe: percent(10),
            offers_share: percent(50),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sats(n: u64) -> Sats {
        Sats::new(n).unwrap()
    }

    fn msats(n: u64) -> Msats {
        Msats::new(n).unwrap()
    }

    #[test]
    fn the_least_of_day_pool_and_estimate_is_absorbed() {
        let policy = FreeTierPolicy::default();
        // tier, used, pool, estimate: absorbed, how
        for (tier, used, pool, estimate, absorb, serve) in [
            (Tier::Anonymous, 0, 1_000_000, 10_000, 0, Serve::Gate),
            (Tier::New, 0, 1_000_000, 10_000, 0, Serve::Gate),
            (Tier::Established, 0, 1_000_000, 10_000, 10_000, Serve::Free),
            (Tier::Established, 0, 1_000_000, 50_000, 50_000, Serve::Free),
            (Tier::Established, 0, 1_000_000, 50_001, 50_000, Serve::Partial),
            (Tier::Established, 49_999, 1_000_000, 10_000, 1, Serve::Partial),
            (Tier::Established, 50_000, 1_000_000, 10_000, 0, Serve::Gate),
            (Tier::Established, 70_000, 1_000_000, 10_000, 0, Serve::Gate),
            (Tier::Trusted, 0, 1_000_000, 200_001, 200_000, Serve::Partial),
            (Tier::Elite, 0, 400, 10_000, 400, Serve::Partial),
            (Tier::Elite, 0, 0, 10_000, 0, Serve::Gate),
            (Tier::Elite, 0, 1_000_000, 0, 0, Serve::Gate),
        ] {
            let decision = policy.decide(tier, msats(used), msats(pool), msats(estimate));
            assert_eq!(
                (decision.absorb.get(), decision.serve),
                (absorb, serve),
                "{tier} {used} {pool} {estimate}"
            );
        }
    }

    #[test]
    fn an_offer_is_in_whole_sats_one_at_a_time_and_of_a_part_of_the_pool() {
        let policy = FreeTierPolicy::default();
        let pool = |balance, available, offered| PoolView {
            balance: msats(balance),
            available: msats(available),
            offered: msats(offered),
        };
        let decide = |has_offer, pool, estimate| {
            let decision =
                policy.decide_invoiced(Tier::Established, msats(500), has_offer, pool, sats(estimate));
            (decision.serve, decision.absorb.get(), decision.charge.get())
        };
        let rich = pool(1_000_000, 1_000_000, 0);
        assert_eq!(decide(false, rich, 95), (Serve::Partial, 49_000, 46_000));
        assert_eq!(decide(true, rich, 95), (Serve::Gate, 0, 95_000));
        assert_eq!(decide(true, rich, 49), (Serve::Free, 49_000, 0), "free work waits for nobody to pay");
        assert_eq!(decide(false, pool(80_000, 80_000, 0), 95), (Serve::Partial, 40_000, 55_000));
        assert_eq!(decide(false, pool(80_000, 50_000, 30_000), 95), (Serve::Partial, 10_000, 85_000));
        assert_eq!(decide(false, pool(80_000, 40_000, 39_001), 95), (Serve::Gate, 0, 95_000));
        assert_eq!(decide(false, pool(80_000, 40_000, 60_000), 95), (Serve::Gate, 0, 95_000));
    }

    #[test]
    fn the_tithe_is_a_tenth_rounded_down() {
        let policy = FreeTierPolicy::default();
        for (paid, tithe) in
            [(0, 0), (9, 0), (10, 1), (12_345, 1_234), (2_100_000_000_000_000_000, 210_000_000_000_000_000)]
        {
            assert_eq!(policy.tithe_of(msats(paid)), msats(tithe));
        }
    }

    proptest! {
        #[test]
        fn no_decision_passes_a_limit(used in 0_u64..2_000_000, pool in 0_u64..3_000_000, estimate in 0_u64..3_000, offered in 0_u64..3_000_000, at in 0_usize..5, has_offer: bool) {
            let policy = FreeTierPolicy::default();
            let tier = Tier::ALL[at];
            let view = PoolView { balance: msats(pool), available: msats(pool.saturating_sub(offered)), offered: msats(offered) };
            for decision in [
                policy.decide(tier, msats(used), msats(pool), sats(estimate).to_msats()),
                policy.decide_invoiced(tier, msats(used), has_offer, view, sats(estimate)),
            ] {
                prop_assert_eq!(decision.absorb.checked_add(decision.charge).unwrap(), sats(estimate).to_msats());
                prop_assert!(decision.absorb.get() <= policy.budget(tier).get().saturating_sub(used));
                prop_assert!(decision.absorb.get() <= pool);
                prop_assert_eq!(decision.serve == Serve::Gate, decision.absorb.is_zero());
                prop_assert_eq!(decision.serve == Serve::Free, estimate > 0 && decision.charge.is_zero());
            }
        }
    }
}
