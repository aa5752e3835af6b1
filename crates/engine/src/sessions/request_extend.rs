//! Lets the hold of a request of a session grow while it runs.

use super::request_renew::SessionRequestRenew;
use super::steps::account_of;
use crate::books::rows::{RowKind, SessionKeys, SessionRequests};
use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_clock::Timestamp;
use tithe_ledger::HoldId;
use tithe_money::Msats;
use tithe_sessions::{PresentedKey, SessionId, SessionKey};

/// Lets a request that runs cost up to `limit`, or as much of that as the balance and the limits of its keys allow, and renews its
/// lease. Returns the most that it may cost now: if that is less than `limit`, nothing more is to be had. Of a session that has ended,
/// and with a key that is revoked, nothing more is to be had either. Repeating it changes nothing but the lease.
#[derive(Debug, Clone)]
pub struct SessionRequestExtend {
    /// The request, and the leases to renew.
    pub renew: SessionRequestRenew,
    /// The keys of the macaroon that it was made with, oldest first.
    pub keys: Vec<PresentedKey>,
    /// The most that it may cost, in all.
    pub limit: Msats,
}

impl Command for SessionRequestExtend {
    type Reply = Msats;
    const NAME: &'static str = "session_request_extend";

    fn declare(&self, keys: &mut RowKeys) {
        self.renew.declare(keys);
        keys.declare_session(self.renew.session);
        keys.session_requests.insert(self.renew.request);
        keys.session_keys.extend(self.keys.iter().map(|key| (self.renew.session, key.id)));
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Msats, Refusal> {
        self.renew.decide(books)?;
        let (id, now) = (self.renew.request, books.now());
        let request = books.session_request(id)?;
        let session = books.session(self.renew.session)?;
        let more = match session.check_active() {
            Ok(()) => {
                let left = books.session_left(session.id, &self.keys)?;
                self.limit.saturating_sub(request.limit).min(left)
            }
            Err(_ended) => Msats::ZERO,
        };
        if more.is_zero() {
            return Ok(request.limit);
        }
        let lost = || Refusal::LeaseLost { kind: SessionRequests::NAME, key: id.to_string() };
        let request = request.extended(more, now).ok_or_else(lost)?;
        let account = books.account(account_of(session.id))?;
        let (hold, account) = books.hold(HoldId(id.0))?.extend(&account, more, now)?;
        books.hold_write(hold, account)?;
        for key in &self.keys {
            let extended = books.session_key(session.id, key)?.extend(more, key.limit, now)?;
            let warns = session.webhook.is_some();
            books.rows.session_keys.put(if warns { extended.observed(now) } else { extended })?;
        }
        let limit = request.limit;
        books.rows.session_requests.put(request)?;
        Ok(limit)
    }
}

impl Books<'_> {
    /// What a session and these keys have left for requests that run: what is available, and what every key allows.
    pub(super) fn session_left(&self, session: SessionId, keys: &[PresentedKey]) -> Result<Msats, Refusal> {
        let now: Timestamp = self.now();
        let mut left = self.account(account_of(session))?.available();
        for key in keys {
            let allowed = self.session_key(session, key)?.available_to_running(key.limit, now);
            left = allowed.map_or(left, |allowed| allowed.min(left));
        }
        Ok(left)
    }

    /// A key that was used.
    fn session_key(&self, session: SessionId, key: &PresentedKey) -> Result<SessionKey, Refusal> {
        let stored = self.rows.session_keys.get(&(session, key.id))?.cloned();
        stored.ok_or_else(|| Refusal::not_found(SessionKeys::NAME, &key.id))
    }
}
