//! The use cases of install credits.

use super::installs_import::{Imported, InstallsImport};
use super::licence_revoke::LicenceRevoke;
use super::presented::PresentedInstall;
use crate::core::Core;
use crate::error::{EngineError, InvalidCredential};
use std::sync::Arc;
use tithe_ledger::credits::{Balance, Install, InstallId};
use tithe_licences::{LicenceId, Revocation};

/// The use cases of install credits.
pub struct Credits {
    pub(super) core: Arc<Core>,
}

/// An install and what it has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallBalance {
    /// The install, as it would be for its next request.
    pub install: Install,
    /// What it has left.
    pub balance: Balance,
}

impl Credits {
    pub(crate) const fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// What an install has left. It changes nothing; an install that was never seen has all that its plan includes.
    ///
    /// # Errors
    /// [`EngineError::InvalidIdentity`] when the licence is invalid, [`EngineError::Busy`].
    pub async fn balance(&self, presented: &PresentedInstall) -> Result<InstallBalance, EngineError> {
        let proven = self.prove(presented)?;
        let store = &self.core.ports.store;
        if let Some(licence) = proven.licence
            && store.licence_revocation(licence).await?.is_some()
        {
            return Err(InvalidCredential::LicenceRevoked.into());
        }
        let now = self.core.now();
        let stored = store.install(proven.install).await?;
        let install = stored.unwrap_or_else(|| Install::new(proven.install, now));
        let quota = self.core.settings.credits.plans.quota(proven.plan);
        let balance = install.balance(proven.plan, quota, now);
        Ok(InstallBalance { install: install.under(proven.plan, now), balance })
    }

    /// An install as it is stored; `None` if it was never seen.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub async fn install(&self, id: InstallId) -> Result<Option<Install>, EngineError> {
        Ok(self.core.ports.store.install(id).await?)
    }

    /// Installs after `after`, in the order of their ids, at most `limit`.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub async fn installs(
        &self,
        after: Option<InstallId>,
        limit: usize,
    ) -> Result<Vec<Install>, EngineError> {
        Ok(self.core.ports.store.installs(after, limit).await?)
    }

    /// Adds installs of another system, all or none.
    ///
    /// # Errors
    /// [`EngineError::Busy`], [`EngineError::OutcomeUnknown`]. Importing again is safe.
    pub async fn import(&self, installs: Vec<Install>) -> Result<Imported, EngineError> {
        Ok(self.core.committer.commit(InstallsImport { installs }).await?)
    }

    /// Revokes a licence, from the next request on and for ever.
    ///
    /// # Errors
    /// [`EngineError::Busy`], [`EngineError::OutcomeUnknown`].
    pub async fn licence_revoke(
        &self,
        licence: LicenceId,
        reason: String,
    ) -> Result<Revocation, EngineError> {
        Ok(self.core.committer.commit(LicenceRevoke { licence, reason }).await?)
    }

    /// The licences that were revoked, newest first.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub async fn licences_revoked(&self) -> Result<Vec<Revocation>, EngineError> {
        Ok(self.core.ports.store.licences_revoked().await?)
    }
}
