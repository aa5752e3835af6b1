//! What an identity may know of itself.

use crate::books::Rules;
use tithe_clock::Timestamp;
use tithe_free_tier::Identity;
use tithe_money::Msats;
use tithe_trust::{NostrPubkey, Score, Tier};

/// An identity's trust and budget at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityView {
    /// The identity's public key.
    pub pubkey: NostrPubkey,
    /// Its tier.
    pub tier: Tier,
    /// Its score.
    pub score: Score,
    /// How many pieces of work have ended for it.
    pub interactions: u64,
    /// When it last logged in or had work ended; `None` when it has no row yet.
    pub last_seen: Option<Timestamp>,
    /// The next tier, and the points that are missing to it.
    pub next_tier: Option<(Tier, Score)>,
    /// What it may take from the pool in one budget window.
    pub budget: Msats,
    /// What was granted to it in the current budget window.
    pub absorbed_today: Msats,
    /// What is reserved for it.
    pub reserved: Msats,
    /// When the current budget window ends; `None` before its first grant.
    pub resets_at: Option<Timestamp>,
}

impl IdentityView {
    /// What is left of its budget.
    #[must_use]
    pub const fn remaining_today(&self) -> Msats {
        self.budget.saturating_sub(self.absorbed_today).saturating_sub(self.reserved)
    }

    /// The view of an identity, which may have no row yet.
    pub(super) fn of(pubkey: NostrPubkey, stored: Option<&Identity>, rules: &Rules, now: Timestamp) -> Self {
        let known = stored.cloned().unwrap_or_else(|| Identity::new(pubkey, now));
        let score = known.trust.score_at(&rules.trust, now);
        let tier = rules.trust.tier(score);
        let window = known.window.at(now);
        Self {
            pubkey,
            tier,
            score,
            interactions: known.trust.interactions,
            last_seen: stored.map(|stored| stored.trust.last_seen),
            next_tier: rules.trust.next_tier(score),
            budget: rules.free_tier.budget(tier),
            absorbed_today: window.absorbed,
            reserved: window.reserved,
            resets_at: window.resets_at,
        }
    }
}
