//! The bodies of logins and identities.

use super::Decimal;
use super::vocabulary::TierName;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tithe_clock::Timestamp;
use tithe_engine::identities::{IdentityView, LoggedIn};
use tithe_money::MoneyError;
use tithe_trust::Challenge;
use utoipa::ToSchema;

/// A login challenge.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChallengeBody {
    /// The nonce to sign: 64 hex digits. It is valid for one login.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    nonce: String,
    /// The time at which the nonce expires.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl From<Challenge> for ChallengeBody {
    fn from(challenge: Challenge) -> Self {
        Self { nonce: challenge.nonce.to_string(), expires_at: challenge.expires_at }
    }
}

/// A signed event (NIP-01).
#[derive(Debug, ToSchema)]
#[expect(
    dead_code,
    reason = "this type exists for the API's document only; events are read by `tithe-trust`"
)]
pub(crate) struct NostrEventBody {
    /// The SHA-256 of the serialized event.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    id: String,
    /// The public key.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pubkey: String,
    /// The time of the signature, in seconds since 1970.
    created_at: u64,
    /// The kind: 22242 or 27235.
    #[schema(minimum = 0, maximum = 65535)]
    kind: u16,
    /// The tags.
    tags: Vec<Vec<String>>,
    /// The content.
    content: String,
    /// The Schnorr signature of the id.
    #[schema(pattern = "^[0-9a-f]{128}$")]
    sig: String,
}

/// A signed challenge.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct VerifyBody {
    /// The signed event (NIP-01), an object with `id`, `pubkey`, `created_at`, `kind`, `tags`, `content` and `sig`. Its
    /// kind is 22242 with the nonce in a `challenge` tag (NIP-42), or 27235 with the nonce in such a tag or as the
    /// content.
    #[schema(value_type = NostrEventBody)]
    pub(crate) event: Value,
    /// The expected public key, as hex or npub. The login is rejected if the event is signed by a different key.
    #[schema(pattern = "^([0-9a-fA-F]{64}|npub1[02-9ac-hj-np-z]{58})$")]
    pub(crate) pubkey: Option<String>,
}

/// The trust of an identity.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TrustBody {
    /// The tier: `new`, `established`, `trusted` or `elite`.
    #[schema(value_type = TierName)]
    tier: &'static str,
    /// The trust score, in points.
    #[schema(value_type = f64)]
    score: Decimal,
    /// The number of completed interactions.
    interaction_count: u64,
}

impl From<&IdentityView> for TrustBody {
    fn from(identity: &IdentityView) -> Self {
        Self {
            tier: identity.tier.as_str(),
            score: identity.score.into(),
            interaction_count: identity.interactions,
        }
    }
}

/// A successful login.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VerifiedBody {
    /// The token to send as `X-Nostr-Token` in later requests. Keep it secret.
    #[serde(rename = "nostr_token")]
    nostr_token: String,
    /// The time at which the token expires.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// The public key: 64 hex digits.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pubkey: String,
    /// The trust of the identity.
    trust: TrustBody,
}

impl From<&LoggedIn> for VerifiedBody {
    fn from(login: &LoggedIn) -> Self {
        Self {
            nostr_token: login.token.text.clone(),
            expires_at: login.token.expires_at,
            pubkey: login.identity.pubkey.to_string(),
            trust: TrustBody::from(&login.identity),
        }
    }
}

/// The trust of an identity and its distance to the next tier.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WholeTrustBody {
    /// The fields that a login response contains too.
    #[serde(flatten)]
    now: TrustBody,
    /// The time of the last login or finished job; null if there was none.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_seen: Option<Timestamp>,
    /// The next higher tier; null at the top tier.
    #[schema(value_type = Option<TierName>)]
    next_tier: Option<&'static str>,
    /// The number of points to the next tier; null at the top tier.
    #[schema(value_type = Option<f64>)]
    points_to_next_tier: Option<Decimal>,
}

/// The free-tier budget of an identity.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BudgetBody {
    /// The budget per budget window, in sats, which depends on the tier.
    daily_budget_sats: u64,
    /// The amount that the pool has paid in the current budget window, in sats, rounded up.
    absorbed_today_sats: u64,
    /// The amount that is reserved for unfinished work, in sats, rounded up.
    reserved_sats: u64,
    /// The remaining budget of the current budget window, in sats, rounded down.
    remaining_today_sats: u64,
    /// The end of the current budget window, which lasts 24 hours from the first work that the pool pays; null if no
    /// budget window is open.
    #[schema(value_type = Option<String>, format = DateTime)]
    resets_at: Option<Timestamp>,
}

/// The identity of the caller.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MeBody {
    /// The public key: 64 hex digits.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pubkey: String,
    /// The public key in the npub format.
    #[schema(pattern = "^npub1[02-9ac-hj-np-z]{58}$")]
    npub: String,
    /// The trust of the identity.
    trust: WholeTrustBody,
    /// The free-tier budget of the identity.
    free_tier: BudgetBody,
}

impl TryFrom<&IdentityView> for MeBody {
    type Error = MoneyError;

    fn try_from(identity: &IdentityView) -> Result<Self, MoneyError> {
        let next = identity.next_tier;
        Ok(Self {
            pubkey: identity.pubkey.to_string(),
            npub: identity.pubkey.npub(),
            trust: WholeTrustBody {
                now: TrustBody::from(identity),
                last_seen: identity.last_seen,
                next_tier: next.map(|(tier, _)| tier.as_str()),
                points_to_next_tier: next.map(|(_, missing)| missing.into()),
            },
            free_tier: BudgetBody {
                daily_budget_sats: identity.budget.to_sats_rounding_down().get(),
                absorbed_today_sats: identity.absorbed_today.to_sats_rounding_up()?.get(),
                reserved_sats: identity.reserved.to_sats_rounding_up()?.get(),
                remaining_today_sats: identity.remaining_today().to_sats_rounding_down().get(),
                resets_at: identity.resets_at,
            },
        })
    }
}
