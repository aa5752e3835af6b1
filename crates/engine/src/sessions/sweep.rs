//! Sweeping sessions: those that were abandoned, those that nobody uses, and requests whose server is gone.

use super::request_abandon::SessionRequestAbandon;
use super::service::Sessions;
use super::session_abandon::SessionAbandon;
use super::session_expire::SessionExpire;
use crate::charging::HoldOwner;
use crate::core::Core;
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::store::StoreError;
use async_trait::async_trait;
use tithe_ledger::{AccountId, Hold};
use tithe_sessions::{RequestId, SessionId, SessionKindName};
use tracing::warn;

impl Sessions {
    /// Ends sessions that never got an invoice, and those that nobody uses. Several servers may do it at once: each session ends
    /// once.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer.
    pub async fn sweep(&self) -> Result<(), EngineError> {
        let (store, settings, now) = (&self.core.ports.store, &self.core.settings, self.core.now());
        let before = now - settings.abandon_after;
        for session in store.sessions_never_invoiced(before, Core::SWEEP_LIMIT).await? {
            self.core.sweep(SessionAbandon { session }).await?;
        }
        for kind in SessionKindName::ALL {
            let idle = settings.idle_of(kind);
            for session in store.sessions_idle(kind, now - idle, Core::SWEEP_LIMIT).await? {
                self.core.sweep(SessionExpire { session, idle }).await?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl HoldOwner for Sessions {
    fn owns(&self, account: AccountId) -> bool {
        matches!(account, AccountId::Session(_))
    }

    async fn hold_expired(&self, hold: &Hold) -> Result<(), EngineError> {
        let AccountId::Session(session) = hold.account else { return Ok(()) };
        let (request, session) = (RequestId(hold.id.0), SessionId(session));
        let stored = match self.core.ports.store.session_request(request).await {
            Ok(stored) => stored,
            Err(failure @ StoreError::Unavailable(_)) => return Err(failure.into()),
            Err(failure) => {
                // It must not keep others from being swept; the audit names it.
                warn!(session_id = %session, session_request_id = %request, error = chain(&failure), "a request of a session cannot be read");
                return Ok(());
            }
        };
        let keys = stored.map(|stored| stored.keys).unwrap_or_default();
        self.core.sweep(SessionRequestAbandon { request, session, keys }).await
    }
}
