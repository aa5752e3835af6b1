//! What commands do with identities.

use super::view::IdentityView;
use crate::books::{Books, Refusal};
use tithe_free_tier::Identity;
use tithe_trust::{Interaction, NostrPubkey, Tier};

impl Books<'_> {
    /// The identity of a key. One that has no row yet has no trust and has taken nothing.
    pub(crate) fn identity(&self, pubkey: NostrPubkey) -> Result<Identity, Refusal> {
        let stored = self.rows.identities.get(&pubkey)?.cloned();
        Ok(stored.unwrap_or_else(|| Identity::new(pubkey, self.now())))
    }

    /// The tier of a key, now.
    pub(crate) fn tier(&self, pubkey: NostrPubkey) -> Result<Tier, Refusal> {
        let stored = self.rows.identities.get(&pubkey)?;
        Ok(IdentityView::of(pubkey, stored, self.rules(), self.now()).tier)
    }

    /// Lets an identity earn or lose trust for work that has ended.
    pub(crate) fn interaction(
        &mut self,
        pubkey: NostrPubkey,
        interaction: Interaction,
    ) -> Result<(), Refusal> {
        let identity = self.identity(pubkey)?.after(interaction, &self.rules().trust, self.now());
        self.rows.identities.put(identity)
    }
}
