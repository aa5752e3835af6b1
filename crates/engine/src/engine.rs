//! The engine: an assembly of services.

use crate::audit::{AuditReport, audit};
use crate::charging::Charging;
use crate::committer::Committer;
use crate::core::Core;
use crate::error::EngineError;
use crate::idempotency::Idempotency;
use crate::identities::Identities;
use crate::jobs::{ClaimTokens, JobFeed, JobOwners, JobServices, Jobs};
use crate::payments::Payments;
use crate::pool::Pool;
use crate::ports::Ports;
use crate::quotes::{Quotes, UnknownModel};
use crate::readiness::Readiness;
use crate::settings::Settings;
use crate::store::StoreError;
use std::sync::Arc;
use tithe_trust::Secrets;

/// The use cases, by service.
pub struct Engine {
    /// Estimates and models.
    pub quotes: Arc<Quotes>,
    /// Jobs.
    pub jobs: Arc<Jobs>,
    /// Invoices and payments.
    pub payments: Arc<Payments>,
    /// Holds and the charging of finished work.
    pub charging: Arc<Charging>,
    /// The generosity pool.
    pub pool: Arc<Pool>,
    /// Identities.
    pub identities: Arc<Identities>,
    /// Idempotency keys.
    pub idempotency: Arc<Idempotency>,
    core: Arc<Core>,
}

impl Engine {
    /// An engine on these ports. Starts its committer on the current runtime; the background tasks start with
    /// [`Engine::start`].
    ///
    /// # Errors
    /// [`UnknownModel`] when the settings name a model that the catalogue does not have.
    pub fn new(ports: Ports, settings: Settings, secrets: &Secrets) -> Result<Self, UnknownModel> {
        let feed = Arc::new(JobFeed::new());
        let rules = Arc::new(settings.rules.clone());
        let committer = Committer::start(ports.store.clone(), ports.clock.clone(), rules, feed.clone());
        let core = Arc::new(Core { ports, settings, committer });
        let idempotency = Arc::new(Idempotency::new(core.clone()));
        let identities = Arc::new(Identities::new(core.clone(), idempotency.clone(), secrets));
        let pool = Arc::new(Pool::new(core.clone()));
        let charging = Arc::new(Charging::new(core.clone()));
        let quotes = Arc::new(Quotes::new(core.clone(), pool.clone())?);
        let job_owners = Arc::new(JobOwners::new(core.ports.store.clone()));
        let payments = Arc::new(Payments::new(core.clone(), vec![job_owners]));
        let services = JobServices {
            idempotency: idempotency.clone(),
            identities: identities.clone(),
            payments: payments.clone(),
            quotes: quotes.clone(),
        };
        let jobs = Arc::new(Jobs::new(core.clone(), services, feed, ClaimTokens::new(secrets)));
        Ok(Self { quotes, jobs, payments, charging, pool, identities, idempotency, core })
    }

    /// The ports that this engine runs on.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.core.ports
    }

    /// The operator's settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.core.settings
    }

    /// The committer, for commands that no use case wraps.
    #[must_use]
    pub fn committer(&self) -> &Committer {
        &self.core.committer
    }

    /// Audits everything that the store holds.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read to the end.
    pub async fn audit(&self) -> Result<AuditReport, StoreError> {
        audit(self.core.ports.store.as_ref()).await
    }

    /// Checks everything that the engine needs.
    pub async fn readiness(&self) -> Readiness {
        Readiness::check(&self.core).await
    }

    /// Ends everything that has expired: jobs that never got an invoice, holds, reservations, idempotency keys, authentication
    /// nonces. Several servers may do it at once.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer; the rest is left for the next sweep.
    pub async fn sweep(&self) -> Result<(), EngineError> {
        self.jobs.sweep().await?;
        self.charging.sweep().await?;
        self.pool.sweep().await?;
        self.idempotency.sweep().await?;
        self.identities.sweep().await
    }
}
