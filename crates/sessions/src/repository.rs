//! The repository port for sessions.

use crate::{
    KeptRequest, KeptTotals, RequestId, Session, SessionId, SessionKey, SessionKindName, SessionRequest,
};
use async_trait::async_trait;
use tithe_clock::Timestamp;
use tithe_paywall::KeyId;

/// Where a page of a session's history begins: after this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestCursor(pub RequestId);

/// Reads sessions and their requests. Changes are written by the engine's batches, together with the money they move.
#[async_trait]
pub trait SessionRepository: Send + Sync {
    /// The error of a failed read.
    type Error;

    /// The session with this id, or `None`.
    async fn session(&self, id: SessionId) -> Result<Option<Session>, Self::Error>;

    /// The request with this id, or `None`.
    async fn session_request(&self, id: RequestId) -> Result<Option<SessionRequest>, Self::Error>;

    /// The requests of a session, newest first, at most `limit`; with a cursor, those that are older.
    async fn session_requests(
        &self,
        session: SessionId,
        before: Option<RequestCursor>,
        limit: usize,
    ) -> Result<Vec<SessionRequest>, Self::Error>;

    /// The keys of a session that were used or revoked, in the order of their first use.
    async fn session_keys(&self, session: SessionId) -> Result<Vec<SessionKey>, Self::Error>;

    /// The keys of a session that were revoked.
    async fn session_keys_revoked(&self, session: SessionId) -> Result<Vec<KeyId>, Self::Error>;

    /// Sessions that were created before `before` and never got an invoice for their deposit, at most `limit`.
    async fn sessions_never_invoiced(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<SessionId>, Self::Error>;

    /// Sessions whose owner was not told how much of the balance is used ([`crate::Warned::is_due`]): those that follow `after` in an
    /// order of the store's own, at most `limit`.
    async fn sessions_to_warn(
        &self,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, Self::Error>;

    /// Keys of which the owner of the session was not told how much of their limit is used: those that follow `after` in an order of the
    /// store's own, at most `limit`.
    async fn session_keys_to_warn(
        &self,
        after: Option<(SessionId, KeyId)>,
        limit: usize,
    ) -> Result<Vec<SessionKey>, Self::Error>;

    /// Active sessions of this kind that were last used before `before`, at most `limit`.
    async fn sessions_idle(
        &self,
        kind: SessionKindName,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<SessionId>, Self::Error>;

    /// The request that is kept for a session of one request, or `None`.
    async fn kept_request(&self, session: SessionId) -> Result<Option<KeptRequest>, Self::Error>;

    /// Kept requests that somebody has to work on ([`KeptRequest::is_due`]) and nobody does at `now`: those that have waited longest
    /// first, at most `limit`.
    async fn kept_requests_due(&self, now: Timestamp, limit: usize) -> Result<Vec<SessionId>, Self::Error>;

    /// What the requests that are kept and have not ended come to.
    async fn kept_requests_total(&self) -> Result<KeptTotals, Self::Error>;
}
