//! The use cases of identities.

use super::view::IdentityView;
use crate::core::Core;
use crate::error::EngineError;
use crate::idempotency::Idempotency;
use std::sync::Arc;
use tithe_trust::{Audience, Challenges, IdentityTokens, NostrPubkey, Secrets, Tier};

/// The audience of Tithe's tokens.
const AUDIENCE: Audience = Audience::literal("tithe");

/// The use cases of identities.
pub struct Identities {
    pub(super) core: Arc<Core>,
    pub(super) idempotency: Arc<Idempotency>,
    pub(super) tokens: IdentityTokens,
    pub(super) challenges: Challenges,
}

impl Identities {
    pub(crate) fn new(core: Arc<Core>, idempotency: Arc<Idempotency>, secrets: &Secrets) -> Self {
        let tokens = IdentityTokens::new(secrets, AUDIENCE, core.settings.identity_token_life);
        let challenges = Challenges::new(secrets, Challenges::LIFE);
        Self { core, idempotency, tokens, challenges }
    }

    /// The identity of a key: its trust and its budget, now.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub async fn view(&self, pubkey: NostrPubkey) -> Result<IdentityView, EngineError> {
        let stored = self.core.ports.store.identity(pubkey).await?;
        Ok(IdentityView::of(pubkey, stored.as_ref(), &self.core.settings.rules, self.core.now()))
    }

    /// The tier of an identity, now. Without an identity it is `anonymous`.
    pub(crate) async fn tier_of(&self, identity: Option<NostrPubkey>) -> Result<Tier, EngineError> {
        match identity {
            Some(pubkey) => Ok(self.view(pubkey).await?.tier),
            None => Ok(Tier::Anonymous),
        }
    }
}
