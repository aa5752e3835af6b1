//! Sweeping jobs that were abandoned.

use super::job_abandon::JobAbandon;
use super::service::Jobs;
use crate::core::Core;
use crate::error::EngineError;

impl Jobs {
    /// Ends jobs that never got an invoice. Several servers may do it at once: each job ends once.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer.
    pub async fn sweep(&self) -> Result<(), EngineError> {
        self.admission.sweep();
        let before = self.core.now() - self.core.settings.abandon_after;
        let store = &self.core.ports.store;
        for job in store.jobs_never_invoiced(before, Core::SWEEP_LIMIT).await? {
            self.core.sweep(JobAbandon { job }).await?;
        }
        Ok(())
    }
}
