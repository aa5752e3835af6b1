//! Idempotency keys.

use super::Reader;
use crate::schema::idempotency_keys;
use diesel::prelude::*;
use tithe_engine::records::{IdempotencyId, IdempotencyRecord, IdempotencyState, StoredResponse};
use tithe_engine::store::StoreError;
use uuid::Uuid;

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = idempotency_keys)]
#[diesel(treat_none_as_null = true)]
#[diesel(primary_key(scope, key))]
pub struct IdempotencyRow {
    pub scope: String,
    pub key: String,
    pub fingerprint: String,
    pub subject: Option<String>,
    pub lease_until: Option<i64>,
    pub answer_status: Option<i32>,
    pub answer_body: Option<String>,
    pub created_at: i64,
    pub expires_at: i64,
}

impl From<&IdempotencyRecord> for IdempotencyRow {
    fn from(record: &IdempotencyRecord) -> Self {
        let (lease_until, response) = match &record.state {
            IdempotencyState::InProgress { lease_until } => (Some(lease_until.unix_micros()), None),
            IdempotencyState::Done(response) => (None, Some(response.clone())),
        };
        Self {
            scope: record.id.scope.clone(),
            key: record.id.key.clone(),
            fingerprint: hex::encode(record.fingerprint),
            subject: record.subject.map(|subject| subject.to_string()),
            lease_until,
            answer_status: response.as_ref().map(|response| i32::from(response.status)),
            answer_body: response.map(|response| response.body),
            created_at: record.created_at.unix_micros(),
            expires_at: record.expires_at.unix_micros(),
        }
    }
}

impl TryFrom<IdempotencyRow> for IdempotencyRecord {
    type Error = StoreError;

    fn try_from(row: IdempotencyRow) -> Result<Self, StoreError> {
        let read = Reader::new("idempotency key", &row.key);
        let mut fingerprint = [0; 32];
        read.column("fingerprint", hex::decode_to_slice(&row.fingerprint, &mut fingerprint))?;
        let state = match (row.lease_until, row.answer_status, row.answer_body) {
            (Some(until), None, None) => {
                IdempotencyState::InProgress { lease_until: read.time("lease_until", until)? }
            }
            (None, Some(status), Some(body)) => {
                let status = read.column("answer_status", u16::try_from(status))?;
                IdempotencyState::Done(StoredResponse { status, body })
            }
            _ => return Err(read.corrupt("neither in progress nor answered")),
        };
        let subject = row.subject.map(|subject| subject.parse::<Uuid>()).transpose();
        Ok(Self {
            fingerprint,
            subject: read.column("subject", subject)?,
            state,
            created_at: read.time("created_at", row.created_at)?,
            expires_at: read.time("expires_at", row.expires_at)?,
            id: IdempotencyId { scope: row.scope, key: row.key },
        })
    }
}
