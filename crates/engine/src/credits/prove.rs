//! What an install proves.

use super::presented::{PresentedInstall, ProvenPlan};
use super::rows::CreditRequest;
use super::service::Credits;
use crate::admission::Origin;
use crate::error::{EngineError, InvalidCredential};
use tithe_ledger::credits::Plan;

impl Credits {
    /// The plan that an install proves: without a licence, it is `core`.
    ///
    /// # Errors
    /// [`EngineError::InvalidIdentity`]: a licence that is invalid is never taken for none.
    pub fn prove(&self, presented: &PresentedInstall) -> Result<ProvenPlan, EngineError> {
        let install = presented.id;
        let Some(token) = &presented.licence else {
            return Ok(ProvenPlan { install, plan: Plan::Core, licence: None });
        };
        let keys = &self.core.settings.credits.licence_keys;
        let licence = keys.verify(token, install, self.core.now()).map_err(InvalidCredential::Licence)?;
        Ok(ProvenPlan { install, plan: licence.plan, licence: Some(licence.id) })
    }

    /// The request of a credit for an install that has proven its plan.
    pub(crate) fn request(&self, proven: &ProvenPlan, origin: Option<&Origin>) -> CreditRequest {
        let settings = &self.core.settings.credits;
        CreditRequest {
            install: proven.install,
            plan: proven.plan,
            licence: proven.licence,
            quota: *settings.plans.quota(proven.plan),
            has_hardware: self.core.ports.hardware.is_some(),
            origin: origin.map(|origin| (origin.to_string(), settings.new_installs)),
        }
    }
}
