//! Who asks: proofs of identity, and where an identity stands.
//!
//! Asking for a challenge writes nothing, and a token is checked without a look at the database. What must count once (a
//! nonce, a signed request) is written down when it is used, by a command that only one of any number of servers can do.

use crate::commands::{Answer, Command, Refusal};
use crate::proof::{ProofId, ProofKind};
use crate::{Engine, EngineError};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_free_tier::Standing;
use tithe_money::Msats;
use tithe_trust::{
    Challenge, HttpProof, IdentityToken, InvalidProof, InvalidToken, NostrPubkey, ProvenEvent, Score, Tier,
};
use tracing::info;

/// How many signed requests are remembered here.
const RECENT_MAX: usize = 100_000;

/// How long a memory that is full is not searched for what has expired.
const SEARCH_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Signed requests that changed nothing, and that this server has taken lately.
#[derive(Default)]
pub(crate) struct RecentProofs(Mutex<Recent>);

#[derive(Default)]
struct Recent {
    taken: HashMap<ProofId, Timestamp>,
    searched_at: Option<Timestamp>,
}

impl RecentProofs {
    /// Remembers a proof until it is not valid anyway.
    fn take(&self, proof: ProofId, expires_at: Timestamp, now: Timestamp) -> Result<(), EngineError> {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.taken.contains_key(&proof) {
            return Err(EngineError::InvalidIdentity(Refusal::ProofUsed.to_string()));
        }
        let searched = recent.searched_at.is_some_and(|at| now.since(at) < SEARCH_AGAIN_AFTER && at <= now);
        if recent.taken.len() >= RECENT_MAX && !searched {
            recent.taken.retain(|_, expires_at| now < *expires_at);
            recent.searched_at = Some(now);
        }
        if recent.taken.len() >= RECENT_MAX {
            return Err(EngineError::Busy);
        }
        recent.taken.insert(proof, expires_at);
        Ok(())
    }
}

/// Where an identity stands, as of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingView {
    /// Who it is.
    pub pubkey: NostrPubkey,
    /// Its tier.
    pub tier: Tier,
    /// Its score.
    pub score: Score,
    /// How many pieces of work have ended for it.
    pub interactions: u64,
    /// When it last proved its key or had work ended; `None`: it has never asked for anything.
    pub last_seen: Option<Timestamp>,
    /// The next tier and what is missing to it.
    pub next_tier: Option<(Tier, Score)>,
    /// What it may take from the pool in a day.
    pub budget: Msats,
    /// What it was granted today.
    pub absorbed_today: Msats,
    /// What is reserved for it.
    pub reserved: Msats,
    /// When its day ends, if it has begun.
    pub resets_at: Option<Timestamp>,
}

impl StandingView {
    /// What is left of its day.
    #[must_use]
    pub const fn remaining_today(&self) -> Msats {
        self.budget.saturating_sub(self.absorbed_today).saturating_sub(self.reserved)
    }
}

/// Somebody has proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// What proves it from now on.
    pub token: IdentityToken,
    /// Where they stand.
    pub standing: StandingView,
}

impl Engine {
    /// Whether an event logs somebody in, if its nonce was not used before. Uses nothing up.
    ///
    /// # Errors
    /// [`EngineError::InvalidIdentity`].
    pub fn identity_check(&self, event: &ProvenEvent) -> Result<(), EngineError> {
        self.challenges.login(event, self.now())?;
        Ok(())
    }

    /// A nonce to be signed.
    #[must_use]
    pub fn identity_challenge(&self) -> Challenge {
        self.challenges.issue(self.now(), self.ports.entropy.bytes())
    }

    /// Takes a signed nonce, once, and gives a token for it.
    ///
    /// # Errors
    /// [`EngineError::InvalidIdentity`] when it proves nothing or was used before.
    pub async fn identity_login(&self, event: &ProvenEvent) -> Result<LoggedIn, EngineError> {
        let now = self.now();
        let login = self.challenges.login(event, now)?;
        let used = Command::ProofUse {
            proof: ProofId(login.nonce.to_bytes()),
            kind: ProofKind::Login,
            identity: login.pubkey,
            expires_at: login.expires_at,
        };
        let standing = match self.committer.commit(used).await? {
            Answer::Standing(standing) => Some(standing),
            _ => None,
        };
        info!(pubkey = %login.pubkey, "somebody has logged in");
        let token = self.identity_tokens.issue(login.pubkey, now);
        Ok(LoggedIn { token, standing: self.standing_view_of(login.pubkey, standing.as_deref()) })
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// [`EngineError::InvalidIdentity`].
    pub fn identity_of_token(&self, token: &str) -> Result<NostrPubkey, EngineError> {
        Ok(self.identity_tokens.verify(token, self.now())?)
    }

    /// The time by which signed requests are judged.
    #[must_use]
    pub fn identity_time(&self) -> Timestamp {
        self.now()
    }

    /// Takes a signed request (NIP-98) that changes nothing, not even that it was made: once on this server.
    ///
    /// # Errors
    /// [`EngineError::InvalidIdentity`] when it was used before.
    pub fn identity_of_reading(&self, proof: &HttpProof) -> Result<NostrPubkey, EngineError> {
        self.recent_proofs.take(ProofId(proof.event_id), proof.expires_at, self.now())?;
        Ok(proof.pubkey)
    }

    /// Takes a signed request (NIP-98), once on all servers.
    ///
    /// # Errors
    /// [`EngineError::InvalidIdentity`] when it was used before.
    pub async fn identity_of_http_auth(&self, proof: HttpProof) -> Result<NostrPubkey, EngineError> {
        let HttpProof { pubkey, event_id, expires_at } = proof;
        let used = Command::ProofUse {
            proof: ProofId(event_id),
            kind: ProofKind::HttpAuth,
            identity: pubkey,
            expires_at,
        };
        self.committer.commit(used).await?;
        Ok(pubkey)
    }

    /// Where an identity stands.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub async fn standing_view(&self, pubkey: NostrPubkey) -> Result<StandingView, EngineError> {
        let standing = self.ports.store.standing(pubkey).await?;
        Ok(self.standing_view_of(pubkey, standing.as_ref()))
    }

    /// An identity's tier, now; that of nobody is `anonymous`.
    pub(crate) async fn tier_of(&self, identity: Option<NostrPubkey>) -> Result<Tier, EngineError> {
        let Some(pubkey) = identity else { return Ok(Tier::Anonymous) };
        Ok(self.standing_view(pubkey).await?.tier)
    }

    fn standing_view_of(&self, pubkey: NostrPubkey, standing: Option<&Standing>) -> StandingView {
        let now = self.now();
        let rules = &self.settings.rules;
        let known = standing.cloned().unwrap_or_else(|| Standing::new(pubkey, now));
        let score = known.identity.score_at(&rules.trust, now);
        let tier = rules.trust.tier(score);
        let day = known.day.at(now);
        StandingView {
            pubkey,
            tier,
            score,
            interactions: known.identity.interactions,
            last_seen: standing.map(|standing| standing.identity.last_seen),
            next_tier: rules.trust.next_tier(score),
            budget: rules.free_tier.budget(tier),
            absorbed_today: day.absorbed,
            reserved: day.reserved,
            resets_at: day.resets_at,
        }
    }
}

impl From<InvalidToken> for EngineError {
    fn from(wrong: InvalidToken) -> Self {
        Self::InvalidIdentity(wrong.to_string())
    }
}

impl From<InvalidProof> for EngineError {
    fn from(wrong: InvalidProof) -> Self {
        Self::InvalidIdentity(wrong.to_string())
    }
}
