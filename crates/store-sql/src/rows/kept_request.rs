//! Requests that are done before their payment is taken.

use super::{Reader, json};
use crate::schema::kept_requests;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tithe_engine::store::StoreError;
use tithe_sessions::{
    KeptLease, KeptRequest, KeptState, KeptStateName, KeptTotals, RequestId, SentRequest, SessionId,
};

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = kept_requests)]
#[diesel(treat_none_as_null = true)]
#[diesel(primary_key(session_id))]
pub struct KeptRequestRow {
    pub session_id: String,
    pub request_id: String,
    pub nostr_pubkey: Option<String>,
    pub invoice: String,
    pub state: String,
    pub work_until: Option<i64>,
    pub request: Option<String>,
    pub bytes: i64,
    pub answer: Option<String>,
    pub lease_owner: Option<String>,
    pub lease_until: i64,
    pub claims: i64,
    pub created_at: i64,
    pub expires_at: i64,
    pub updated_at: i64,
}

/// What was sent, as its column holds it.
#[derive(Serialize, Deserialize)]
struct SentColumn {
    method: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, String)>,
    body: String,
}

impl From<&SentRequest> for SentColumn {
    fn from(sent: &SentRequest) -> Self {
        let SentRequest { method, path, query, headers, body } = sent.clone();
        Self { method, path, query, headers, body: STANDARD.encode(body) }
    }
}

fn read_sent(text: &str) -> Result<SentRequest, String> {
    let column: SentColumn = serde_json::from_str(text).map_err(|wrong| wrong.to_string())?;
    let SentColumn { method, path, query, headers, body } = column;
    let body = STANDARD.decode(body).map_err(|wrong| wrong.to_string())?;
    Ok(SentRequest { method, path, query, headers, body })
}

impl TryFrom<&KeptRequest> for KeptRequestRow {
    type Error = StoreError;

    fn try_from(kept: &KeptRequest) -> Result<Self, StoreError> {
        let (work_until, answer) = match &kept.state {
            KeptState::Held { until } => (Some(until.unix_micros()), None),
            KeptState::Settling { answer } => (None, Some(json(answer.as_ref())?)),
            KeptState::Offered | KeptState::Cancelling | KeptState::Ended => (None, None),
        };
        let sent = kept.sent.as_deref();
        Ok(Self {
            session_id: kept.session.to_string(),
            request_id: kept.request.to_string(),
            nostr_pubkey: kept.identity.map(|pubkey| pubkey.to_string()),
            invoice: kept.invoice.to_string(),
            state: kept.state_name().as_str().to_owned(),
            work_until,
            request: sent.map(|sent| json(&SentColumn::from(sent))).transpose()?,
            bytes: sent.map_or(0, |sent| i64::try_from(sent.bytes()).unwrap_or(i64::MAX)),
            answer,
            lease_owner: kept.lease.owner.map(|owner| owner.to_string()),
            lease_until: kept.lease.until.unix_micros(),
            claims: i64::from(kept.lease.claims),
            created_at: kept.created_at.unix_micros(),
            expires_at: kept.expires_at.unix_micros(),
            updated_at: kept.updated_at.unix_micros(),
        })
    }
}

impl TryFrom<KeptRequestRow> for KeptRequest {
    type Error = StoreError;

    fn try_from(row: KeptRequestRow) -> Result<Self, StoreError> {
        let read = Reader::new("kept request", &row.session_id);
        let state = match read.column("state", row.state.parse())? {
            KeptStateName::Offered => KeptState::Offered,
            KeptStateName::Held => {
                let until = read.present("work_until", row.work_until)?;
                KeptState::Held { until: read.time("work_until", until)? }
            }
            KeptStateName::Settling => {
                let answer = read.present("answer", row.answer.as_deref())?;
                KeptState::Settling { answer: Box::new(read.column("answer", serde_json::from_str(answer))?) }
            }
            KeptStateName::Cancelling => KeptState::Cancelling,
            KeptStateName::Ended => KeptState::Ended,
        };
        let pubkey = row.nostr_pubkey.map(|pubkey| read.pubkey("nostr_pubkey", &pubkey)).transpose()?;
        let owner = row.lease_owner.map(|owner| owner.parse()).transpose();
        let sent = row.request.as_deref().map(read_sent).transpose();
        Ok(Self {
            session: SessionId(read.column("session_id", row.session_id.parse())?),
            request: RequestId(read.column("request_id", row.request_id.parse())?),
            identity: pubkey,
            invoice: read.column("invoice", row.invoice.parse())?,
            sent: read.column("request", sent)?.map(Arc::new),
            state,
            lease: KeptLease {
                owner: read.column("lease_owner", owner)?,
                until: read.time("lease_until", row.lease_until)?,
                claims: read.column("claims", u32::try_from(row.claims))?,
            },
            created_at: read.time("created_at", row.created_at)?,
            expires_at: read.time("expires_at", row.expires_at)?,
            updated_at: read.time("updated_at", row.updated_at)?,
        })
    }
}

/// What the requests that are kept come to.
#[derive(QueryableByName)]
pub struct KeptTotalsRow {
    #[diesel(sql_type = BigInt)]
    pub requests: i64,
    #[diesel(sql_type = BigInt)]
    pub bytes: i64,
}

impl From<KeptTotalsRow> for KeptTotals {
    fn from(row: KeptTotalsRow) -> Self {
        let number = |count| u64::try_from(count).unwrap_or_default();
        Self { requests: number(row.requests), bytes: number(row.bytes) }
    }
}
