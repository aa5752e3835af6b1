//! Identities, and the authentication nonces that they have consumed.

use super::{Reader, count_column};
use crate::schema::{auth_challenges, nostr_identities};
use diesel::prelude::*;
use tithe_clock::Timestamp;
use tithe_engine::records::{AuthNonce, AuthNonceId, AuthNonceKind};
use tithe_engine::store::StoreError;
use tithe_free_tier::{BudgetWindow, Identity, ReservationId};
use tithe_trust::{Score, TrustScore};

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = nostr_identities)]
#[diesel(primary_key(pubkey))]
#[diesel(treat_none_as_null = true)]
pub struct IdentityRow {
    pub pubkey: String,
    pub trust_score_millis: i64,
    pub gained_today_millis: i64,
    pub gains_reset_at: Option<i64>,
    pub away_since: i64,
    pub interaction_count: i64,
    pub absorbed_today_msats: i64,
    pub absorbed_reset_at: Option<i64>,
    pub reserved_msats: i64,
    pub open_offer: Option<String>,
    pub last_seen: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

impl From<&Identity> for IdentityRow {
    fn from(identity: &Identity) -> Self {
        let Identity { trust, window } = identity;
        Self {
            pubkey: trust.pubkey.to_string(),
            trust_score_millis: count_column(trust.score.millis()),
            gained_today_millis: count_column(trust.gained_today.millis()),
            gains_reset_at: trust.gains_reset_at.map(Timestamp::unix_micros),
            away_since: trust.away_since.unix_micros(),
            interaction_count: count_column(trust.interactions),
            absorbed_today_msats: window.absorbed.to_i64(),
            absorbed_reset_at: window.resets_at.map(Timestamp::unix_micros),
            reserved_msats: window.reserved.to_i64(),
            open_offer: window.offer.map(|offer| offer.to_string()),
            last_seen: trust.last_seen.unix_micros(),
            created_at: trust.created_at.unix_micros(),
            updated_at: trust.updated_at.unix_micros(),
        }
    }
}

impl TryFrom<IdentityRow> for Identity {
    type Error = StoreError;

    fn try_from(row: IdentityRow) -> Result<Self, StoreError> {
        let read = Reader::new("identity", &row.pubkey);
        let time = |column, value: Option<i64>| value.map(|value| read.time(column, value)).transpose();
        let score = |column, value| read.count(column, value).map(Score::from_millis);
        let offer = row.open_offer.as_deref().map(str::parse::<ReservationId>).transpose();
        Ok(Self {
            trust: TrustScore {
                pubkey: read.pubkey("pubkey", &row.pubkey)?,
                score: score("trust_score_millis", row.trust_score_millis)?,
                gained_today: score("gained_today_millis", row.gained_today_millis)?,
                gains_reset_at: time("gains_reset_at", row.gains_reset_at)?,
                away_since: read.time("away_since", row.away_since)?,
                interactions: read.count("interaction_count", row.interaction_count)?,
                last_seen: read.time("last_seen", row.last_seen)?,
                created_at: read.time("created_at", row.created_at)?,
                updated_at: read.time("updated_at", row.updated_at)?,
            },
            window: BudgetWindow {
                absorbed: read.msats("absorbed_today_msats", row.absorbed_today_msats)?,
                resets_at: time("absorbed_reset_at", row.absorbed_reset_at)?,
                reserved: read.msats("reserved_msats", row.reserved_msats)?,
                offer: read.column("open_offer", offer)?,
            },
        })
    }
}

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = auth_challenges)]
pub struct AuthNonceRow {
    pub id: String,
    pub kind: String,
    pub pubkey: String,
    pub used_at: i64,
    pub expires_at: i64,
}

/// A nonce's id as a column holds it.
#[must_use]
pub fn auth_nonce_column(id: &AuthNonceId) -> String {
    hex::encode(id.0)
}

impl From<&AuthNonce> for AuthNonceRow {
    fn from(nonce: &AuthNonce) -> Self {
        Self {
            id: auth_nonce_column(&nonce.id),
            kind: nonce.kind.name().to_owned(),
            pubkey: nonce.pubkey.to_string(),
            used_at: nonce.used_at.unix_micros(),
            expires_at: nonce.expires_at.unix_micros(),
        }
    }
}

impl TryFrom<AuthNonceRow> for AuthNonce {
    type Error = StoreError;

    fn try_from(row: AuthNonceRow) -> Result<Self, StoreError> {
        let read = Reader::new("auth nonce", &row.id);
        let mut id = [0; 32];
        read.column("id", hex::decode_to_slice(&row.id, &mut id))?;
        Ok(Self {
            id: AuthNonceId(id),
            kind: AuthNonceKind::from_name(&row.kind)
                .ok_or_else(|| read.corrupt(format!("kind is {:?}", row.kind)))?,
            pubkey: read.pubkey("pubkey", &row.pubkey)?,
            used_at: read.time("used_at", row.used_at)?,
            expires_at: read.time("expires_at", row.expires_at)?,
        })
    }
}
