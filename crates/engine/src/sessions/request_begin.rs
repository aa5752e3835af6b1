//! Begins a request of a session.

use super::steps::account_of;
use crate::books::rows::{RowKind, SessionRequests};
use crate::books::{Books, Command, Refusal, RowKeys};
use crate::idempotency::KeyBegun;
use crate::records::{IdempotencyRequest, StoredResponse};
use std::time::Duration;
use tithe_ledger::{Hold, HoldId};
use tithe_money::Msats;
use tithe_paywall::{KeyId, RequestDigest};
use tithe_sessions::{PresentedKey, Session, SessionKey, SessionRequest};

/// Begins a request of a session: holds its limit, which may grow ([`SessionRequestExtend`](super::SessionRequestExtend)), records it, and
/// begins its idempotency key. A session that pays for one request begins no other, and does it once at a time.
#[derive(Debug, Clone)]
pub struct SessionRequestBegin {
    /// The request, running.
    pub request: Box<SessionRequest>,
    /// The keys of the macaroon that it was made with, oldest first.
    pub keys: Vec<PresentedKey>,
    /// How long the hold lives unless it is renewed.
    pub lease: Duration,
    /// The client's idempotency key, if it gave one.
    pub idempotency: Option<IdempotencyRequest>,
    /// The digest of the request, if the session pays for one request; `None` if it is prepaid.
    pub digest: Option<RequestDigest>,
    /// Whether the work is a call that must not be made again if an earlier try was abandoned.
    pub once: bool,
}

/// How [`SessionRequestBegin`] ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionRequestBegun {
    /// The request has begun.
    New {
        /// The session.
        session: Box<Session>,
        /// The amount that its hold could grow by now: what the balance and the limits of its keys leave.
        left: Msats,
    },
    /// The request was answered before; nothing has changed.
    Replayed(StoredResponse),
}

impl Command for SessionRequestBegin {
    type Reply = SessionRequestBegun;
    const NAME: &'static str = "session_request_begin";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_session(self.request.session);
        keys.holds.insert(HoldId(self.request.id.0));
        keys.session_requests.insert(self.request.id);
        keys.session_keys.extend(self.keys.iter().map(|key| (self.request.session, key.id)));
        keys.idempotency_keys.extend(self.idempotency.iter().map(|request| request.id.clone()));
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<SessionRequestBegun, Refusal> {
        let (request, now) = (self.request.as_ref(), books.now());
        let session = books.session(request.session)?;
        session.check_request(self.digest)?;
        if let Some(keyed) = &self.idempotency {
            match books.key_begin(keyed, Some(request.id.0), None)? {
                // What an abandoned request holds is released by its lease. Should it go on after all, it finds the key taken, and
                // fails without being charged.
                KeyBegun::Resumed { subject: Some(_) } if self.once => return Err(Refusal::CallLost),
                KeyBegun::New | KeyBegun::Resumed { .. } => {}
                KeyBegun::Replayed(response) => return Ok(SessionRequestBegun::Replayed(response)),
            }
            // It is renewed with the hold: whoever repeats the request waits no longer than what it held is held.
            books.key_hold(&keyed.id, request.id.0, now + self.lease)?;
            if session.kind.one_request().is_some() {
                // Earlier tries have failed. The answer is kept for as long as if there had been none.
                books.key_keep(&keyed.id, now + keyed.keep)?;
            }
        }
        session.check_active()?;
        if session.kind.one_request().is_some() && !books.account(account_of(session.id))?.held().is_zero() {
            return Err(Refusal::RequestInProgress);
        }
        let hold = HoldId(request.id.0);
        if books.rows.session_requests.contains(&request.id)? || books.rows.holds.contains(&hold)? {
            return Err(Refusal::exists(SessionRequests::NAME, &request.id));
        }
        let account = books.account(account_of(session.id))?;
        let (hold, account) = Hold::place(&account, hold, request.limit, now, self.lease)?;
        books.hold_write(hold, account)?;
        let used = session.used(now);
        if used != session {
            books.rows.sessions.put(used.clone())?;
        }
        let keys = books.session_keys_reserve(request, &self.keys, session.webhook.is_some())?;
        books.rows.session_requests.put(SessionRequest { keys, ..request.clone() })?;
        let left = books.session_left(session.id, &self.keys)?;
        Ok(SessionRequestBegun::New { session: Box::new(used), left })
    }
}

impl Books<'_> {
    /// Reserves what a request can cost on every key of its macaroon, and so records its use: the owner sees, and can revoke, also those
    /// that were only narrowed further. `warns` says whether the owner is warned. Returns the keys.
    fn session_keys_reserve(
        &mut self,
        request: &SessionRequest,
        keys: &[PresentedKey],
        warns: bool,
    ) -> Result<Vec<KeyId>, Refusal> {
        let now = self.now();
        let mut recorded = Vec::new();
        for key in keys {
            let stored = self.rows.session_keys.get(&(request.session, key.id))?.cloned();
            if stored.as_ref().is_some_and(|stored| stored.revoked_at.is_some()) {
                return Err(Refusal::KeyRevoked(key.id));
            }
            let used = stored.unwrap_or_else(|| SessionKey::first_used(request.session, key, now));
            // A new period of its limit is seen before anything of it is used.
            let reserved = used.reserve(request.limit, key.limit, now)?;
            self.rows.session_keys.put(if warns { reserved.observed(now) } else { reserved })?;
            recorded.push(key.id);
        }
        Ok(recorded)
    }
}
