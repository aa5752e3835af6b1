//! What commands do with sessions.

use crate::books::rows::{RowKind, SessionKeys, SessionRequests, Sessions};
use crate::books::{Books, Refusal, RowKeys};
use tithe_ledger::{AccountId, HoldId};
use tithe_money::Msats;
use tithe_sessions::{RequestId, Session, SessionId, SessionRequest};

/// The account of a session's balance.
pub(super) const fn account_of(session: SessionId) -> AccountId {
    AccountId::Session(session.0)
}

impl RowKeys {
    /// Declares a session and its account.
    pub(super) fn declare_session(&mut self, session: SessionId) {
        self.sessions.insert(session);
        self.accounts.insert(account_of(session));
    }

    /// Declares a session whose balance may be refunded.
    pub(super) fn declare_session_refund(&mut self, session: SessionId) {
        self.sessions.insert(session);
        self.declare_refund(account_of(session));
    }
}

impl Books<'_> {
    /// The session of this id.
    pub(super) fn session(&self, id: SessionId) -> Result<Session, Refusal> {
        let stored = self.rows.sessions.get(&id)?.cloned();
        stored.ok_or_else(|| Refusal::not_found(Sessions::NAME, &id))
    }

    /// The request of this id.
    pub(super) fn session_request(&self, id: RequestId) -> Result<SessionRequest, Refusal> {
        let stored = self.rows.session_requests.get(&id)?.cloned();
        stored.ok_or_else(|| Refusal::not_found(SessionRequests::NAME, &id))
    }

    /// Ends what a request has reserved on its keys: what was charged counts, and the rest is available again. `warns` says whether
    /// the owner of the session is warned.
    pub(super) fn session_keys_end(
        &mut self,
        request: &SessionRequest,
        charged: Option<Msats>,
        warns: bool,
    ) -> Result<(), Refusal> {
        let now = self.now();
        for id in &request.keys {
            let stored = self.rows.session_keys.get(&(request.session, *id))?.cloned();
            let key = stored.ok_or_else(|| Refusal::not_found(SessionKeys::NAME, id))?;
            let ended = match charged {
                Some(charged) => key.settle(request.limit, charged, now)?,
                None => key.release(request.limit)?,
            };
            self.rows.session_keys.put(if warns { ended.observed(now) } else { ended })?;
        }
        Ok(())
    }

    /// Releases the hold of a request, unless it has ended already.
    pub(super) fn session_hold_release(&mut self, request: &SessionRequest) -> Result<(), Refusal> {
        let hold = self.hold(HoldId(request.id.0))?;
        if !hold.state.is_live() {
            return Ok(());
        }
        let account = self.account(account_of(request.session))?;
        let ended = hold.release(&account, self.now())?;
        self.hold_write(ended.hold, ended.account)
    }

    /// Refunds what an ended session has left and is not held, and writes the session. While something is held, a fraction of a sat
    /// waits for it; of a session with a return invoice, which can be paid once, all of it does. `occasion` distinguishes several refunds of
    /// one session.
    pub(super) fn session_refund(&mut self, session: &Session, occasion: &str) -> Result<Session, Refusal> {
        let account = account_of(session.id);
        let return_invoice = session.kind.return_invoice();
        if return_invoice.is_some() && !self.account(account)?.held().is_zero() {
            self.rows.sessions.put(session.clone())?;
            return Ok(session.clone());
        }
        let before = self.account(account)?.balance();
        let refund = self.accrue_refund(account, session.id.0, occasion)?;
        let moved = before.checked_sub(self.account(account)?.balance())?;
        let rounding = moved.checked_sub(refund.to_msats())?;
        if let Some(address) = &session.return_to {
            self.obligation_address(account, address)?;
        }
        if let Some(invoice) = return_invoice {
            self.obligation_invoice(account, invoice)?;
        }
        let refunded = if moved == Msats::ZERO {
            session.clone()
        } else {
            session.refunded(refund, rounding, self.now())?
        };
        self.rows.sessions.put(refunded.clone())?;
        Ok(refunded)
    }
}
