//! Whether nodes can be made.

use super::service::Bootstraps;
use crate::error::EngineError;
use crate::error_chain::chain;
use tracing::error;

impl Bootstraps {
    /// Refuses to sell what the provisioner cannot make.
    ///
    /// # Errors
    /// [`EngineError::NoProvisioner`].
    pub(super) async fn check_provisioner(&self) -> Result<(), EngineError> {
        if let Some(works) = self.health.known() {
            return if works { Ok(()) } else { Err(EngineError::NoProvisioner) };
        }
        let provisioner = &self.core.ports.provisioner;
        let checked = provisioner.check().await;
        self.health.set(checked.is_ok());
        checked.map_err(|failure| {
            error!(
                provisioner = provisioner.name(),
                error = chain(&failure),
                "no nodes are sold until the provisioner works"
            );
            EngineError::NoProvisioner
        })
    }
}
