//! An identity's standing: the trust that it has earned, and its day.

use crate::Day;
use tithe_clock::Timestamp;
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
