//! Sweeping bootstraps that were abandoned.

use super::bootstrap_abandon::BootstrapAbandon;
use super::service::Bootstraps;
use crate::core::Core;
use crate::error::EngineError;

impl Bootstraps {
    /// Ends bootstraps that never got an invoice. Several servers may do it at once: each ends once.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer.
    pub async fn sweep(&self) -> Result<(), EngineError> {
        let before = self.core.now() - self.core.settings.abandon_after;
        let old = self.core.ports.store.bootstraps_never_invoiced(before, Core::SWEEP_LIMIT).await?;
        for bootstrap in old {
            self.core.sweep(BootstrapAbandon { bootstrap }).await?;
        }
        Ok(())
    }
}
