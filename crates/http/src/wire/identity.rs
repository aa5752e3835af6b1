//! Identities: how they are proved, and where they stand.

use super::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tithe_clock::Timestamp;
use tithe_engine::{LoggedIn, StandingView};
use tithe_money::MoneyError;
use tithe_trust::Challenge;
use utoipa::ToSchema;

/// What to sign.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChallengeBody {
    /// What to sign: 64 hex digits. It is good for one login.
    nonce: String,
    /// From when on it is refused.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl From<Challenge> for ChallengeBody {
    fn from(challenge: Challenge) -> Self {
        Self { nonce: challenge.nonce.to_string(), expires_at: challenge.expires_at }
    }
}

/// A signed challenge.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct VerifyBody {
    /// The signed event (NIP-01), as an object with `id`, `pubkey`, `created_at`, `kind`, `tags`, `content` and `sig`: of kind
    /// 22242 with the nonce in a `challenge` tag (NIP-42), or of kind 27235 with it in such a tag or as the content.
    #[schema(value_type = Object)]
    pub(crate) event: Value,
    /// The key that you mean to log in with, as hex or npub: refused if the event is of another.
    pub(crate) pubkey: Option<String>,
}

/// Where an identity's trust stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TrustBody {
    /// `new`, `established`, `trusted` or `elite`.
    tier: &'static str,
    /// Points.
    #[schema(value_type = f64)]
    score: Decimal,
    /// How many pieces of work have ended for it.
    interaction_count: u64,
}

impl From<&StandingView> for TrustBody {
    fn from(standing: &StandingView) -> Self {
        Self {
            tier: standing.tier.as_str(),
            score: standing.score.into(),
            interaction_count: standing.interactions,
        }
    }
}

/// Somebody has logged in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VerifiedBody {
    /// What to send as `X-Nostr-Token` from now on. Keep it secret.
    #[serde(rename = "nostr_token")]
    nostr_token: String,
    /// From when on it is refused.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// Who you are: 64 hex digits.
    pubkey: String,
    /// Where you stand.
    trust: TrustBody,
}

impl From<&LoggedIn> for VerifiedBody {
    fn from(login: &LoggedIn) -> Self {
        Self {
            nostr_token: login.token.text.clone(),
            expires_at: login.token.expires_at,
            pubkey: login.standing.pubkey.to_string(),
            trust: TrustBody::from(&login.standing),
        }
    }
}

/// Where an identity's trust stands, and what is missing to the next tier.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WholeTrustBody {
    /// What logging in tells, too.
    #[serde(flatten)]
    now: TrustBody,
    /// When it last logged in or had work ended; null if never.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_seen: Option<Timestamp>,
    /// The tier above its own; null at the top.
    next_tier: Option<&'static str>,
    /// How many points are missing to that; null at the top.
    #[schema(value_type = Option<f64>)]
    points_to_next_tier: Option<Decimal>,
}

/// What an identity may take from the pool today.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FreeTierBody {
    /// What its tier may take in a day, in sats.
    daily_budget_sats: u64,
    /// What the pool has paid for it today, in sats, rounded up.
    absorbed_today_sats: u64,
    /// What is reserved for its work that is not done yet, in sats, rounded up.
    reserved_sats: u64,
    /// What is left of the day, in sats, rounded down.
    remaining_today_sats: u64,
    /// When its day ends; null before the pool has paid anything. A day has 24 hours from the first work that the pool pays.
    #[schema(value_type = Option<String>, format = DateTime)]
    resets_at: Option<Timestamp>,
}

/// Who you are, and where you stand.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MeBody {
    /// The public key: 64 hex digits.
    pubkey: String,
    /// The same as people pass it on.
    npub: String,
    /// The trust that it has earned.
    trust: WholeTrustBody,
    /// What that is given.
    free_tier: FreeTierBody,
}

impl TryFrom<&StandingView> for MeBody {
    type Error = MoneyError;

    fn try_from(standing: &StandingView) -> Result<Self, MoneyError> {
        let next = standing.next_tier;
        Ok(Self {
            pubkey: standing.pubkey.to_string(),
            npub: standing.pubkey.npub(),
            trust: WholeTrustBody {
                now: TrustBody::from(standing),
                last_seen: standing.last_seen,
                next_tier: next.map(|(tier, _)| tier.as_str()),
                points_to_next_tier: next.map(|(_, missing)| missing.into()),
            },
            free_tier: FreeTierBody {
                daily_budget_sats: standing.budget.to_sats_rounding_down().get(),
                absorbed_today_sats: standing.absorbed_today.to_sats_rounding_up()?.get(),
                reserved_sats: standing.reserved.to_sats_rounding_up()?.get(),
                remaining_today_sats: standing.remaining_today().to_sats_rounding_down().get(),
                resets_at: standing.resets_at,
            },
        })
    }
}
