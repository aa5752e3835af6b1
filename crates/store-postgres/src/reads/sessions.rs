//! Reads of sessions, their keys and their requests.

use crate::store::PostgresStore;
use async_trait::async_trait;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::RunQueryDsl;
use tithe_clock::Timestamp;
use tithe_engine::store::StoreError;
use tithe_paywall::KeyId;
use tithe_sessions::{
    KeptRequest, KeptTotals, RequestCursor, RequestId, Session, SessionId, SessionKey, SessionKindName,
    SessionRepository, SessionRequest,
};
use tithe_store_sql::kept_requests::{DUE, TOTAL};
use tithe_store_sql::rows::{
    KeptRequestRow, KeptTotalsRow, Reader, SessionKeyRow, SessionRequestRow, SessionRow, limit_column,
    readable,
};
use tithe_store_sql::schema::{kept_requests, session_keys, session_requests, sessions};

#[async_trait]
impl SessionRepository for PostgresStore {
    type Error = StoreError;

    async fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        self.statement("session", |connection| {
            Box::pin(async move {
                let found = sessions::table.find(id.to_string());
                let row = found.select(SessionRow::as_select()).first(connection).await.optional()?;
                Ok(row.map(Session::try_from).transpose()?)
            })
        })
        .await
    }

    async fn session_request(&self, id: RequestId) -> Result<Option<SessionRequest>, StoreError> {
        self.statement("session_request", |connection| {
            Box::pin(async move {
                let found = session_requests::table.find(id.to_string());
                let row = found.select(SessionRequestRow::as_select()).first(connection).await.optional()?;
                Ok(row.map(SessionRequest::try_from).transpose()?)
            })
        })
        .await
    }

    async fn session_requests(
        &self,
        session: SessionId,
        before: Option<RequestCursor>,
        limit: usize,
    ) -> Result<Vec<SessionRequest>, StoreError> {
        self.statement("session_requests", |connection| {
            Box::pin(async move {
                // No id comes after this text.
                let before = before.map_or_else(|| "~".to_owned(), |RequestCursor(id)| id.to_string());
                let rows = session_requests::table
                    .filter(session_requests::session_id.eq(session.to_string()))
                    .filter(session_requests::id.lt(before))
                    .order(session_requests::id.desc())
                    .limit(limit_column(limit))
                    .select(SessionRequestRow::as_select())
                    .load(connection)
                    .await?;
                Ok(readable(rows))
            })
        })
        .await
    }

    async fn session_keys(&self, session: SessionId) -> Result<Vec<SessionKey>, StoreError> {
        self.statement("session_keys", |connection| {
            Box::pin(async move {
                let rows = session_keys::table
                    .filter(session_keys::session_id.eq(session.to_string()))
                    .order((session_keys::first_used_at, session_keys::key_id))
                    .select(SessionKeyRow::as_select())
                    .load(connection)
                    .await?;
                Ok(readable(rows))
            })
        })
        .await
    }

    async fn session_keys_revoked(&self, session: SessionId) -> Result<Vec<KeyId>, StoreError> {
        self.statement("session_keys_revoked", |connection| {
            Box::pin(async move {
                let ids: Vec<String> = session_keys::table
                    .filter(session_keys::session_id.eq(session.to_string()))
                    .filter(sql::<Bool>("revoked_at IS NOT NULL"))
                    .select(session_keys::key_id)
                    .load(connection)
                    .await?;
                let read = |id: &String| Reader::new("session key", id).column("key_id", id.parse());
                Ok(ids.iter().map(read).collect::<Result<_, _>>()?)
            })
        })
        .await
    }

    async fn sessions_never_invoiced(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.statement("sessions_never_invoiced", |connection| {
            Box::pin(async move {
                let ids: Vec<String> = sessions::table
                    .filter(sql::<Bool>("state = 'awaiting_payment'"))
                    .filter(sessions::deposit_invoice.is_null())
                    .filter(sessions::created_at.lt(before.unix_micros()))
                    .limit(limit_column(limit))
                    .select(sessions::id)
                    .load(connection)
                    .await?;
                Ok(ids.iter().map(|id| session_id(id)).collect::<Result<_, _>>()?)
            })
        })
        .await
    }

    async fn sessions_to_warn(
        &self,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, StoreError> {
        self.statement("sessions_to_warn", |connection| {
            Box::pin(async move {
                let due = sessions::table.filter(sql::<Bool>("warned_percent > notified_percent"));
                let after = after.map_or_else(String::new, |id| id.to_string());
                let due = due.filter(sessions::id.gt(after));
                let due = due.order(sessions::id).limit(limit_column(limit));
                Ok(readable(due.select(SessionRow::as_select()).load(connection).await?))
            })
        })
        .await
    }

    async fn session_keys_to_warn(
        &self,
        after: Option<(SessionId, KeyId)>,
        limit: usize,
    ) -> Result<Vec<SessionKey>, StoreError> {
        self.statement("session_keys_to_warn", |connection| {
            Box::pin(async move {
                let due = session_keys::table.filter(sql::<Bool>("warned_percent > notified_percent"));
                let (session, key) = after
                    .map_or_else(Default::default, |(session, key)| (session.to_string(), key.to_string()));
                let later_key =
                    session_keys::session_id.eq(session.clone()).and(session_keys::key_id.gt(key));
                let due = due.filter(session_keys::session_id.gt(session).or(later_key));
                let due =
                    due.order((session_keys::session_id, session_keys::key_id)).limit(limit_column(limit));
                Ok(readable(due.select(SessionKeyRow::as_select()).load(connection).await?))
            })
        })
        .await
    }

    async fn sessions_idle(
        &self,
        kind: SessionKindName,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.statement("sessions_idle", |connection| {
            Box::pin(async move {
                let ids: Vec<String> = sessions::table
                    .filter(sql::<Bool>("state = 'active'"))
                    .filter(sessions::kind.eq(kind.as_str()))
                    .filter(sessions::last_used_at.lt(before.unix_micros()))
                    .order(sessions::last_used_at)
                    .limit(limit_column(limit))
                    .select(sessions::id)
                    .load(connection)
                    .await?;
                Ok(ids.iter().map(|id| session_id(id)).collect::<Result<_, _>>()?)
            })
        })
        .await
    }

    async fn kept_request(&self, session: SessionId) -> Result<Option<KeptRequest>, StoreError> {
        self.statement("kept_request", |connection| {
            Box::pin(async move {
                let found = kept_requests::table.find(session.to_string());
                let row = found.select(KeptRequestRow::as_select()).first(connection).await.optional()?;
                Ok(row.map(KeptRequest::try_from).transpose()?)
            })
        })
        .await
    }

    async fn kept_requests_due(&self, now: Timestamp, limit: usize) -> Result<Vec<SessionId>, StoreError> {
        self.statement("kept_requests_due", |connection| {
            Box::pin(async move {
                let ids: Vec<String> = kept_requests::table
                    .filter(sql::<Bool>(DUE))
                    .filter(kept_requests::lease_until.le(now.unix_micros()))
                    .order(kept_requests::updated_at)
                    .limit(limit_column(limit))
                    .select(kept_requests::session_id)
                    .load(connection)
                    .await?;
                Ok(ids.iter().map(|id| session_id(id)).collect::<Result<_, _>>()?)
            })
        })
        .await
    }

    async fn kept_requests_total(&self) -> Result<KeptTotals, StoreError> {
        self.statement("kept_requests_total", |connection| {
            Box::pin(async move {
                let total: KeptTotalsRow = diesel::sql_query(TOTAL).get_result(connection).await?;
                Ok(total.into())
            })
        })
        .await
    }
}

fn session_id(id: &str) -> Result<SessionId, StoreError> {
    Reader::new("session", id).column("id", id.parse()).map(SessionId)
}
