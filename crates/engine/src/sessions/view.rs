//! Reading sessions.

use super::keys::SessionAccess;
use super::service::Sessions;
use super::steps::account_of;
use crate::books::rows::{self, RowKind};
use crate::error::EngineError;
use crate::payouts::RefundView;
use tithe_clock::Timestamp;
use tithe_lightning::Invoice;
use tithe_money::Msats;
use tithe_sessions::{RequestCursor, RequestId, Session, SessionId, SessionKey, SessionRequest, StateName};
use tithe_trust::Tier;

/// A session with its balance and its invoices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// The session.
    pub session: Session,
    /// The state, as the balance makes it.
    pub state: StateName,
    /// The balance, with what is held.
    pub balance: Msats,
    /// What requests that run hold of it.
    pub held: Msats,
    /// The least that a request needs.
    pub minimum: Msats,
    /// When the session ends if nobody pays or uses it.
    pub expires_at: Timestamp,
    /// The invoice for the deposit.
    pub deposit_invoice: Option<Invoice>,
    /// The top-up that is unpaid.
    pub pending_top_up: Option<Invoice>,
    /// The present tier of the session's identity.
    pub tier: Tier,
    /// What is owed to the customer.
    pub refund: RefundView,
}

impl Sessions {
    /// A session. Unpaid invoices are looked up at the wallet first, at most once a second.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Busy`].
    pub async fn view(&self, id: SessionId) -> Result<SessionView, EngineError> {
        let view = self.view_as_stored(id).await?;
        let mut changed = false;
        for invoice in [&view.deposit_invoice, &view.pending_top_up].into_iter().flatten() {
            changed |= self.payments.check_on_read(invoice).await;
        }
        if changed { self.view_as_stored(id).await } else { Ok(view) }
    }

    pub(super) async fn view_as_stored(&self, id: SessionId) -> Result<SessionView, EngineError> {
        let (store, settings) = (&self.core.ports.store, &self.core.settings);
        let stored = store.session(id).await?;
        let session = stored.ok_or_else(|| EngineError::not_found(rows::Sessions::NAME, &id))?;
        let account = store.account(account_of(id)).await?;
        let invoice = async |hash| match hash {
            Some(hash) => store.invoice(hash).await,
            None => Ok(None),
        };
        let deposit_invoice = invoice(session.deposit_invoice).await?;
        let pending_top_up = invoice(session.pending_top_up).await?;
        let (balance, held) =
            account.map_or((Msats::ZERO, Msats::ZERO), |account| (account.balance(), account.held()));
        let minimum = settings.session_minimum.to_msats();
        let state = session.state_name(balance.saturating_sub(held), minimum);
        let expires_at = match (state, &deposit_invoice) {
            (StateName::AwaitingPayment, Some(invoice)) => invoice.expires_at,
            _ => session.expires_at(settings.idle_of(session.kind.name())),
        };
        let tier = self.identities.tier_of(session.identity).await?;
        let accrued = session.end().unwrap_or_default().refund;
        let refund = self.payouts.refund(account_of(id), accrued).await?;
        Ok(SessionView {
            session,
            state,
            balance,
            held,
            minimum,
            expires_at,
            deposit_invoice,
            pending_top_up,
            tier,
            refund,
        })
    }

    /// The requests of a session, newest first, at most `limit`; with `before`, those that are older.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub async fn requests(
        &self,
        session: SessionId,
        before: Option<RequestId>,
        limit: usize,
    ) -> Result<Vec<SessionRequest>, EngineError> {
        let before = before.map(RequestCursor);
        Ok(self.core.ports.store.session_requests(session, before, limit).await?)
    }

    /// A request that was made with this macaroon, or with one that was narrowed from it.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Busy`].
    pub async fn request_of(
        &self,
        access: &SessionAccess,
        id: RequestId,
    ) -> Result<SessionRequest, EngineError> {
        let found = self.core.ports.store.session_request(id).await?;
        let is_own = |request: &SessionRequest| {
            let key = access.keys.last();
            request.session == access.session && key.is_none_or(|key| request.keys.contains(&key.id))
        };
        found.filter(is_own).ok_or_else(|| EngineError::not_found(rows::SessionRequests::NAME, &id))
    }

    /// The keys of a session that were used or revoked.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub async fn keys(&self, session: SessionId) -> Result<Vec<SessionKey>, EngineError> {
        Ok(self.core.ports.store.session_keys(session).await?)
    }

    /// Revokes a key that was used, and everything that was narrowed from it.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when no such key was used.
    pub async fn revoke_key(
        &self,
        session: SessionId,
        key: tithe_paywall::KeyId,
    ) -> Result<SessionKey, EngineError> {
        Ok(*self.core.committer.commit(super::SessionKeyRevoke { session, key }).await?)
    }
}
