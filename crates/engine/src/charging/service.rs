//! The use cases of charging.

use super::hold_expire::HoldExpire;
use crate::core::Core;
use crate::error::EngineError;
use std::sync::Arc;

/// The use cases of charging.
pub struct Charging {
    core: Arc<Core>,
}

impl Charging {
    pub(crate) const fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Expires holds whose lease has run out. Several servers may do it at once: each hold ends once.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer.
    pub async fn sweep(&self) -> Result<(), EngineError> {
        for hold in self.core.ports.store.holds_overdue(self.core.now(), Core::SWEEP_LIMIT).await? {
            self.core.sweep(HoldExpire { hold: hold.id, account: hold.account }).await?;
        }
        Ok(())
    }
}
