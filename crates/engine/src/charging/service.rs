//! The use cases of charging.

use super::hold_expire::HoldExpire;
use crate::core::Core;
use crate::error::EngineError;
use async_trait::async_trait;
use std::sync::Arc;
use tithe_ledger::{AccountId, Hold};

/// The use cases of charging.
pub struct Charging {
    core: Arc<Core>,
    owners: Vec<Arc<dyn HoldOwner>>,
}

/// What holds on some accounts belong to, such as the requests of sessions: it ends with its hold.
#[async_trait]
pub trait HoldOwner: Send + Sync {
    /// Whether holds on this account belong to it.
    fn owns(&self, account: AccountId) -> bool;

    /// Ends a hold whose lease has run out, together with what it was for. Another server may have done so.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer.
    async fn hold_expired(&self, hold: &Hold) -> Result<(), EngineError>;
}

impl Charging {
    pub(crate) const fn new(core: Arc<Core>, owners: Vec<Arc<dyn HoldOwner>>) -> Self {
        Self { core, owners }
    }

    /// Expires holds whose lease has run out. Several servers may do it at once: each hold ends once.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer.
    pub async fn sweep(&self) -> Result<(), EngineError> {
        for hold in self.core.ports.store.holds_overdue(self.core.now(), Core::SWEEP_LIMIT).await? {
            match self.owners.iter().find(|owner| owner.owns(hold.account)) {
                Some(owner) => owner.hold_expired(&hold).await?,
                None => self.core.sweep(HoldExpire { hold: hold.id, account: hold.account }).await?,
            }
        }
        Ok(())
    }
}
