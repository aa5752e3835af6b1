//! An identity: the trust that it has earned, and what it has taken from the pool.

use crate::{BudgetWindow, Decision, FreeTierError, PoolView, Rules};
use tithe_clock::Timestamp;
use tithe_money::{Msats, Sats};
use tithe_trust::{Interaction, NostrPubkey, TrustPolicy, TrustScore};

/// An identity as it is stored: one row, and everything that decisions about it depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Identity {
    /// Its key, and the trust that it has earned.
    pub trust: TrustScore,
    /// What it has taken from the pool in the current window, and what is reserved for it.
    pub window: BudgetWindow,
}

impl Identity {
    /// The identity of a key that has not been seen before: no trust, nothing taken.
    #[must_use]
    pub fn new(pubkey: NostrPubkey, now: Timestamp) -> Self {
        Self { trust: TrustScore::new(pubkey, now), window: BudgetWindow::default() }
    }

    /// The identity's public key.
    #[must_use]
    pub const fn pubkey(&self) -> NostrPubkey {
        self.trust.pubkey
    }

    /// Decides who pays for work that is invoiced before it runs ([`FreeTierPolicy::decide_invoiced`](crate::FreeTierPolicy)).
    /// Previews and reservations both ask this, so that they cannot disagree. Nothing changes.
    ///
    /// # Errors
    /// [`FreeTierError::Money`] when an amount exceeds the supply of bitcoin.
    pub fn decide_invoiced(
        &self,
        rules: &Rules,
        pool: PoolView,
        estimate: Sats,
        now: Timestamp,
    ) -> Result<Decision, FreeTierError> {
        let tier = self.trust.tier_at(&rules.trust, now);
        let (used, has_offer) = (self.window.used(now)?, self.window.offer.is_some());
        Ok(rules.free_tier.decide_invoiced(tier, used, has_offer, pool, estimate))
    }

    /// Decides who pays for work that costs `cost`, now ([`FreeTierPolicy::decide`](crate::FreeTierPolicy)). Nothing changes.
    ///
    /// # Errors
    /// [`FreeTierError::Money`] when an amount exceeds the supply of bitcoin.
    pub fn decide(
        &self,
        rules: &Rules,
        pool: PoolView,
        cost: Msats,
        now: Timestamp,
    ) -> Result<Decision, FreeTierError> {
        let tier = self.trust.tier_at(&rules.trust, now);
        Ok(rules.free_tier.decide(tier, self.window.used(now)?, pool.available, cost))
    }

    /// What the identity may take from the pool in one budget window, now.
    #[must_use]
    pub fn budget(&self, rules: &Rules, now: Timestamp) -> Msats {
        rules.free_tier.budget(self.trust.tier_at(&rules.trust, now))
    }

    /// The identity after a piece of work has ended for it.
    #[must_use]
    pub fn after(&self, interaction: Interaction, policy: &TrustPolicy, now: Timestamp) -> Self {
        Self { trust: self.trust.after(interaction, policy, now), window: self.window.clone() }
    }

    /// The identity with another budget window.
    #[must_use]
    pub fn with(&self, window: BudgetWindow, now: Timestamp) -> Self {
        let mut trust = self.trust.clone();
        trust.updated_at = now.max(trust.updated_at);
        Self { trust, window }
    }
}
