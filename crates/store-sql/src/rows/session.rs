//! Sessions, their keys and their requests.

use super::{Reader, count_column, json, usage_buckets};
use crate::schema::{session_keys, session_requests, sessions};
use diesel::prelude::*;
use tithe_engine::store::StoreError;
use tithe_free_tier::RequestHash;
use tithe_money::{BtcPrice, Msats, UsdMicros};
use tithe_paywall::{KeyId, KeyUsage};
use tithe_pricing::Usage;
use tithe_sessions::{
    ChargeBasis, OneRequest, PaymentSession, RequestEnded, RequestId, RequestResult, RequestState, Session,
    SessionEnd, SessionId, SessionKey, SessionKind, SessionKindName, SessionRequest, SessionState,
    UsageLevel, Warned,
};

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = sessions)]
#[diesel(treat_none_as_null = true)]
pub struct SessionRow {
    pub id: String,
    pub nostr_pubkey: Option<String>,
    pub deposit_msats: i64,
    pub state: String,
    pub deposit_invoice: Option<String>,
    pub top_up_invoice: Option<String>,
    pub top_ups: i64,
    pub paid_in_msats: i64,
    pub topped_up_to_msats: i64,
    pub refund_amount_msats: i64,
    pub rounding_msats: i64,
    pub webhook_url: Option<String>,
    pub return_to: Option<String>,
    pub warned_percent: i64,
    pub notified_percent: i64,
    pub last_used_at: i64,
    pub created_at: i64,
    pub updated_at: i64,
    pub kind: String,
    pub request_digest: Option<String>,
    pub request_terms: Option<String>,
    pub return_invoice: Option<String>,
    pub topped_up: Option<String>,
}

impl TryFrom<&Session> for SessionRow {
    type Error = StoreError;

    fn try_from(session: &Session) -> Result<Self, StoreError> {
        let SessionEnd { refund, rounding } = session.end().unwrap_or_default();
        let (one, payment) = (session.kind.one_request(), session.kind.payment());
        Ok(Self {
            id: session.id.to_string(),
            nostr_pubkey: session.identity.map(|pubkey| pubkey.to_string()),
            deposit_msats: session.deposit.to_msats().to_i64(),
            state: session.stored_state_name().as_str().to_owned(),
            deposit_invoice: session.deposit_invoice.map(|hash| hash.to_string()),
            top_up_invoice: session.pending_top_up.map(|hash| hash.to_string()),
            top_ups: i64::from(session.top_ups),
            paid_in_msats: session.paid_in.to_i64(),
            topped_up_to_msats: session.topped_up_to.to_i64(),
            refund_amount_msats: refund.to_msats().to_i64(),
            rounding_msats: rounding.to_i64(),
            webhook_url: session.webhook.clone().map(String::from),
            return_to: session.return_to.clone().map(String::from),
            warned_percent: session.warned.reached.percent().into(),
            notified_percent: session.warned.notified.percent().into(),
            last_used_at: session.last_used_at.unix_micros(),
            created_at: session.created_at.unix_micros(),
            updated_at: session.updated_at.unix_micros(),
            kind: session.kind.name().as_str().to_owned(),
            request_digest: one.map(|one| one.digest.to_string()),
            request_terms: one.map(|one| json(&one.terms)).transpose()?,
            return_invoice: payment.and_then(|payment| payment.return_invoice.clone()),
            topped_up: payment.and_then(|payment| payment.topped_up).map(|session| session.to_string()),
        })
    }
}

impl TryFrom<SessionRow> for Session {
    type Error = StoreError;

    fn try_from(row: SessionRow) -> Result<Self, StoreError> {
        let read = Reader::new("session", &row.id);
        let end = SessionEnd {
            refund: read.msats("refund_amount_msats", row.refund_amount_msats)?.to_sats_rounding_down(),
            rounding: read.msats("rounding_msats", row.rounding_msats)?,
        };
        let state = match row.state.as_str() {
            "awaiting_payment" => SessionState::AwaitingPayment,
            "active" => SessionState::Active,
            "closed" => SessionState::Closed(end),
            "expired" => SessionState::Expired(end),
            other => return Err(read.corrupt(format!("state is {other:?}"))),
        };
        let hash = |column: &str, value: Option<String>| {
            read.column(column, value.map(|hash| hash.parse()).transpose())
        };
        let pubkey = row.nostr_pubkey.map(|pubkey| read.pubkey("nostr_pubkey", &pubkey)).transpose()?;
        let kind = match read.column("kind", row.kind.parse())? {
            SessionKindName::Prepaid => SessionKind::Prepaid,
            SessionKindName::OneRequest => {
                let digest = read.present("request_digest", row.request_digest)?;
                let terms = read.present("request_terms", row.request_terms)?;
                SessionKind::OneRequest(Box::new(OneRequest {
                    digest: read.column("request_digest", digest.parse())?,
                    terms: read.column("request_terms", serde_json::from_str(&terms))?,
                }))
            }
            SessionKindName::Deposit | SessionKindName::Payment => {
                let topped_up = read.column("topped_up", row.topped_up.map(|id| id.parse()).transpose())?;
                let return_invoice = row.return_invoice;
                SessionKind::Payment(Box::new(PaymentSession { return_invoice, topped_up }))
            }
        };
        Ok(Self {
            id: SessionId(read.column("id", row.id.parse())?),
            kind,
            identity: pubkey,
            deposit: read.msats("deposit_msats", row.deposit_msats)?.to_sats_rounding_down(),
            state,
            deposit_invoice: hash("deposit_invoice", row.deposit_invoice)?,
            pending_top_up: hash("top_up_invoice", row.top_up_invoice)?,
            top_ups: read.column("top_ups", u32::try_from(row.top_ups))?,
            paid_in: read.msats("paid_in_msats", row.paid_in_msats)?,
            topped_up_to: read.msats("topped_up_to_msats", row.topped_up_to_msats)?,
            webhook: read.column("webhook_url", row.webhook_url.map(|url| url.parse()).transpose())?,
            return_to: read.column("return_to", row.return_to.map(|address| address.parse()).transpose())?,
            warned: warned(&read, row.warned_percent, row.notified_percent)?,
            last_used_at: read.time("last_used_at", row.last_used_at)?,
            created_at: read.time("created_at", row.created_at)?,
            updated_at: read.time("updated_at", row.updated_at)?,
        })
    }
}

fn warned(read: &Reader, reached: i64, notified: i64) -> Result<Warned, StoreError> {
    let level = |column: &str, percent: i64| {
        let level = u8::try_from(percent).ok().and_then(UsageLevel::from_percent);
        level.ok_or_else(|| read.corrupt(format!("{column} is {percent}")))
    };
    Ok(Warned { reached: level("warned_percent", reached)?, notified: level("notified_percent", notified)? })
}

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = session_keys)]
#[diesel(treat_none_as_null = true)]
pub struct SessionKeyRow {
    pub session_id: String,
    pub key_id: String,
    pub parent_key_id: Option<String>,
    pub caveats: String,
    pub spent_msats: i64,
    pub requests: i64,
    pub counted_at: Option<i64>,
    pub hour_spent_msats: i64,
    pub day_spent_msats: i64,
    pub month_spent_msats: i64,
    pub reserved_msats: i64,
    pub running: i64,
    pub warned_percent: i64,
    pub notified_percent: i64,
    pub revoked_at: Option<i64>,
    pub first_used_at: i64,
    pub last_used_at: i64,
}

impl From<&SessionKey> for SessionKeyRow {
    fn from(key: &SessionKey) -> Self {
        let usage = &key.usage;
        Self {
            session_id: key.session.to_string(),
            key_id: key.id.to_string(),
            parent_key_id: key.parent.map(|parent| parent.to_string()),
            caveats: key.caveats.clone(),
            spent_msats: usage.spent.to_i64(),
            requests: count_column(usage.requests),
            counted_at: usage.counted_at.map(tithe_clock::Timestamp::unix_micros),
            hour_spent_msats: usage.hour_spent.to_i64(),
            day_spent_msats: usage.day_spent.to_i64(),
            month_spent_msats: usage.month_spent.to_i64(),
            reserved_msats: usage.reserved.to_i64(),
            running: count_column(usage.running),
            warned_percent: key.warned.reached.percent().into(),
            notified_percent: key.warned.notified.percent().into(),
            revoked_at: key.revoked_at.map(tithe_clock::Timestamp::unix_micros),
            first_used_at: key.first_used_at.unix_micros(),
            last_used_at: key.last_used_at.unix_micros(),
        }
    }
}

impl TryFrom<SessionKeyRow> for SessionKey {
    type Error = StoreError;

    fn try_from(row: SessionKeyRow) -> Result<Self, StoreError> {
        let read = Reader::new("session key", &format!("{} of {}", row.key_id, row.session_id));
        let time = |column: &str, value: Option<i64>| value.map(|value| read.time(column, value)).transpose();
        let parent = row.parent_key_id.map(|id| id.parse()).transpose();
        Ok(Self {
            session: SessionId(read.column("session_id", row.session_id.parse())?),
            id: read.column("key_id", row.key_id.parse())?,
            parent: read.column("parent_key_id", parent)?,
            usage: KeyUsage {
                spent: read.msats("spent_msats", row.spent_msats)?,
                requests: read.count("requests", row.requests)?,
                counted_at: time("counted_at", row.counted_at)?,
                hour_spent: read.msats("hour_spent_msats", row.hour_spent_msats)?,
                day_spent: read.msats("day_spent_msats", row.day_spent_msats)?,
                month_spent: read.msats("month_spent_msats", row.month_spent_msats)?,
                reserved: read.msats("reserved_msats", row.reserved_msats)?,
                running: read.count("running", row.running)?,
            },
            warned: warned(&read, row.warned_percent, row.notified_percent)?,
            revoked_at: time("revoked_at", row.revoked_at)?,
            first_used_at: read.time("first_used_at", row.first_used_at)?,
            last_used_at: read.time("last_used_at", row.last_used_at)?,
            caveats: row.caveats,
        })
    }
}

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = session_requests)]
#[diesel(treat_none_as_null = true)]
pub struct SessionRequestRow {
    pub id: String,
    pub session_id: String,
    pub model: String,
    pub limit_msats: i64,
    pub key_ids: String,
    pub state: String,
    pub cost_msats: Option<i64>,
    pub charged_msats: Option<i64>,
    pub absorbed_msats: Option<i64>,
    pub actual_input_tokens: Option<i64>,
    pub actual_cached_input_tokens: Option<i64>,
    pub actual_output_tokens: Option<i64>,
    pub actual_buckets: Option<String>,
    pub backend: Option<String>,
    pub request_hash: Option<String>,
    pub btc_price_usd_micros: Option<i64>,
    pub usage_estimated: bool,
    pub finish_reason: Option<String>,
    pub reason: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
    pub result: Option<String>,
    pub text_deleted_at: Option<i64>,
}

impl From<&SessionRequest> for SessionRequestRow {
    fn from(request: &SessionRequest) -> Self {
        let (result, reason) = match &request.state {
            RequestState::Running => (None, None),
            RequestState::Complete { result, .. } => (Some(result), None),
            RequestState::Rejected { reason, .. } => (None, Some(reason.clone())),
            RequestState::Failed { message } => (None, Some(message.clone())),
        };
        let ended = request.cost();
        let keys: Vec<String> = request.keys.iter().map(KeyId::to_string).collect();
        let usage = result.map(|result| result.usage);
        let basis = ended.and_then(|ended| ended.basis);
        Self {
            id: request.id.to_string(),
            session_id: request.session.to_string(),
            model: request.model.clone(),
            limit_msats: request.limit.to_i64(),
            key_ids: keys.join(","),
            state: request.state_name().as_str().to_owned(),
            cost_msats: ended.map(|ended| ended.cost.to_i64()),
            charged_msats: ended.map(|ended| ended.charged.to_i64()),
            absorbed_msats: ended.map(|ended| ended.absorbed.to_i64()),
            actual_input_tokens: usage.map(|usage| count_column(usage.input_tokens)),
            actual_cached_input_tokens: usage.map(|usage| count_column(usage.cached_input_tokens)),
            actual_output_tokens: usage.map(|usage| count_column(usage.output_tokens)),
            actual_buckets: usage.and_then(|usage| usage_buckets::column(&usage)),
            backend: result.and_then(|result| result.backend.as_deref()).map(str::to_owned),
            request_hash: basis.map(|basis| RequestHash::from_bytes(basis.request_sha256).to_string()),
            btc_price_usd_micros: basis.map(|basis| basis.btc_price.usd_micros().to_i64()),
            usage_estimated: result.is_some_and(|result| result.estimated),
            finish_reason: result.map(|result| result.finish.as_str().to_owned()),
            reason,
            created_at: request.created_at.unix_micros(),
            updated_at: request.updated_at.unix_micros(),
            result: result.map(|result| result.text.to_string()),
            text_deleted_at: request.text_deleted_at.map(tithe_clock::Timestamp::unix_micros),
        }
    }
}

impl TryFrom<SessionRequestRow> for SessionRequest {
    type Error = StoreError;

    fn try_from(row: SessionRequestRow) -> Result<Self, StoreError> {
        let read = Reader::new("session request", &row.id);
        let msats = |column: &str, value: Option<i64>| -> Result<Msats, StoreError> {
            read.msats(column, read.present(column, value)?)
        };
        let count = |column: &str, value: Option<i64>| -> Result<u64, StoreError> {
            read.count(column, read.present(column, value)?)
        };
        let basis = || -> Result<Option<ChargeBasis>, StoreError> {
            let (Some(hash), Some(price)) = (&row.request_hash, row.btc_price_usd_micros) else {
                return Ok(None);
            };
            let hash: RequestHash = read.column("request_hash", hash.parse())?;
            let price = UsdMicros::from_i64(price).and_then(BtcPrice::from_usd_micros);
            let btc_price = read.column("btc_price_usd_micros", price)?;
            Ok(Some(ChargeBasis { request_sha256: hash.to_bytes(), btc_price }))
        };
        let ended = || -> Result<RequestEnded, StoreError> {
            Ok(RequestEnded {
                basis: basis()?,
                cost: msats("cost_msats", row.cost_msats)?,
                charged: msats("charged_msats", row.charged_msats)?,
                absorbed: msats("absorbed_msats", row.absorbed_msats)?,
            })
        };
        let state = match row.state.as_str() {
            "running" => RequestState::Running,
            "complete" => {
                let usage = Usage {
                    input_tokens: count("actual_input_tokens", row.actual_input_tokens)?,
                    cached_input_tokens: count("actual_cached_input_tokens", row.actual_cached_input_tokens)?,
                    output_tokens: count("actual_output_tokens", row.actual_output_tokens)?,
                    ..read.usage_buckets(row.actual_buckets.as_deref())?
                };
                let finish = read.present("finish_reason", row.finish_reason.as_deref())?;
                let result = RequestResult {
                    text: read.present("result", row.result.as_deref())?.into(),
                    usage,
                    estimated: row.usage_estimated,
                    finish: read.column("finish_reason", finish.parse())?,
                    backend: row.backend.as_deref().map(Into::into),
                };
                RequestState::Complete { result, ended: ended()? }
            }
            "rejected" => {
                let reason = read.present("reason", row.reason.clone())?;
                RequestState::Rejected { reason, ended: ended()? }
            }
            "failed" => RequestState::Failed { message: read.present("reason", row.reason.clone())? },
            other => return Err(read.corrupt(format!("state is {other:?}"))),
        };
        let keys = row.key_ids.split(',').filter(|id| !id.is_empty()).map(str::parse);
        Ok(Self {
            id: RequestId(read.column("id", row.id.parse())?),
            session: SessionId(read.column("session_id", row.session_id.parse())?),
            limit: read.msats("limit_msats", row.limit_msats)?,
            keys: read.column("key_ids", keys.collect())?,
            state,
            created_at: read.time("created_at", row.created_at)?,
            updated_at: read.time("updated_at", row.updated_at)?,
            text_deleted_at: row.text_deleted_at.map(|at| read.time("text_deleted_at", at)).transpose()?,
            model: row.model,
        })
    }
}
