//! An identity's standing: the trust that it has earned, and its day.

use crate::{Day, Decision, FreeTierError, FreeTierPolicy, PoolView};
use tithe_clock::Timestamp;
use tithe_money::Sats;
use tithe_trust::{Identity, Interaction, NostrPubkey, TrustPolicy};

/// An identity with its day: one row, and what every decision about it looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Who it is, and its trust.
    pub identity: Identity,
    /// What it has taken today.
    pub day: Day,
}

impl Standing {
    /// That of an identity that nobody has seen before.
    #[must_use]
    pub fn new(pubkey: NostrPubkey, now: Timestamp) -> Self {
        Self { identity: Identity::new(pubkey, now), day: Day::default() }
    }

    /// Who it is.
    #[must_use]
    pub const fn pubkey(&self) -> NostrPubkey {
        self.identity.pubkey
    }

    /// Who pays for a piece of work of theirs that is invoiced before it runs ([`FreeTierPolicy::decide_invoiced`]). A preview
    /// asks this, and so does what then reserves.
    ///
    /// # Errors
    /// [`FreeTierError::Money`] beyond all the money there is.
    pub fn decide_invoiced(
        &self,
        trust: &TrustPolicy,
        free_tier: &FreeTierPolicy,
        pool: PoolView,
        estimate: Sats,
        now: Timestamp,
    ) -> Result<Decision, FreeTierError> {
        let tier = self.identity.tier_at(trust, now);
        let (used, has_offer) = (self.day.used(now)?, self.day.offer.is_some());
        Ok(free_tier.decide_invoiced(tier, used, has_offer, pool, estimate))
    }

    /// The standing after a piece of work has ended.
    #[must_use]
    pub fn after(&self, interaction: Interaction, policy: &TrustPolicy, now: Timestamp) -> Self {
        Self { identity: self.identity.after(interaction, policy, now), day: self.day.clone() }
    }

    /// The standing with another day.
    #[must_use]
    pub fn with(&self, day: Day, now: Timestamp) -> Self {
        let mut identity = self.identity.clone();
        identity.updated_at = now.max(identity.updated_at);
        Self { identity, day }
    }
}
