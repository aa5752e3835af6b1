//! Giving back the credits of servers that are gone.

use super::credit_expire::CreditExpire;
use super::service::Credits;
use crate::core::Core;
use crate::error::EngineError;

impl Credits {
    /// Gives back credits whose lease has run out. Several servers may do it at once: each credit ends once.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer.
    pub async fn sweep(&self) -> Result<(), EngineError> {
        for credit in self.core.ports.store.credits_overdue(self.core.now(), Core::SWEEP_LIMIT).await? {
            self.core.sweep(CreditExpire { credit: credit.id, install: credit.install }).await?;
        }
        Ok(())
    }
}
