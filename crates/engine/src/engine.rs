//! The engine: an assembly of services.

use crate::admission::{Admission, OfferCounts, UnpaidCounts};
use crate::asks::Asks;
use crate::audit::{AuditReport, audit};
use crate::bootstraps::{BootstrapOwners, Bootstraps};
use crate::charging::Charging;
use crate::claim_token::ClaimTokens;
use crate::committer::Committer;
use crate::core::Core;
use crate::credits::Credits;
use crate::error::EngineError;
use crate::idempotency::Idempotency;
use crate::identities::Identities;
use crate::inference::{BackendHealth, ModelsInUse};
use crate::jobs::{JobFeed, JobOwners, JobSteps, Jobs};
use crate::log::{millis, watched};
use crate::measuring::Measuring;
use crate::payments::{HoldKeys, OwnerLookup, Payments};
use crate::payouts::Payouts;
use crate::pool::Pool;
use crate::ports::Ports;
use crate::purchases::Purchases;
use crate::quotes::{Quotes, UnknownModel};
use crate::readiness::{LastReadiness, Readiness};
use crate::receipts::Receipts;
use crate::reconciliation::Reconciliation;
use crate::retention::Retention;
use crate::sales::SalesServices;
use crate::servers::Servers;
use crate::sessions::{MacaroonKeys, SessionOwners, Sessions, WebhookSecrets};
use crate::settings::Settings;
use crate::store::StoreError;
use crate::telemetry;
use crate::texts::Texts;
use crate::watched_wallet::WatchedWallet;
use metrics::gauge;
use std::sync::Arc;
use tithe_pricing::Purpose;
use tithe_trust::Secrets;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{error, info};

/// The use cases, by service.
pub struct Engine {
    /// Estimates and models.
    pub quotes: Arc<Quotes>,
    /// Jobs.
    pub jobs: Arc<Jobs>,
    /// Plain requests.
    pub asks: Arc<Asks>,
    /// Install credits.
    pub credits: Arc<Credits>,
    /// Sessions.
    pub sessions: Arc<Sessions>,
    /// Nodes that are bought.
    pub bootstraps: Arc<Bootstraps>,
    /// Invoices and payments.
    pub payments: Arc<Payments>,
    /// What is owed to customers, and its payment.
    pub payouts: Arc<Payouts>,
    /// Receipts of work that was charged.
    pub receipts: Arc<Receipts>,
    /// The ledger beside the wallet.
    pub reconciliation: Arc<Reconciliation>,
    /// Holds and the charging of finished work.
    pub charging: Arc<Charging>,
    /// The generosity pool.
    pub pool: Arc<Pool>,
    /// Identities.
    pub identities: Arc<Identities>,
    /// Idempotency keys.
    pub idempotency: Arc<Idempotency>,
    /// The servers on this database.
    pub servers: Arc<Servers>,
    /// The deletion of customers' texts on request.
    pub texts: Texts,
    pub(crate) backend: Arc<BackendHealth>,
    retention: Retention,
    pub(crate) measuring: Measuring,
    readiness: LastReadiness,
    core: Arc<Core>,
}

impl Engine {
    /// An engine on these ports. Starts its committer on the current runtime; the background tasks start with
    /// [`Engine::start`].
    ///
    /// # Errors
    /// [`UnknownModel`] when the settings name a model that the catalogue does not have.
    pub fn new(ports: Ports, settings: Settings, secrets: &Secrets) -> Result<Self, UnknownModel> {
        Self::with_claim_secrets(ports, settings, secrets, secrets)
    }

    /// Like [`Engine::new`], with other secrets for claim tokens than for everything else: claim tokens prove refunds, and stay valid
    /// for as long as their secret is among them.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn with_claim_secrets(
        mut ports: Ports,
        settings: Settings,
        secrets: &Secrets,
        claims: &Secrets,
    ) -> Result<Self, UnknownModel> {
        ports.wallet = Arc::new(WatchedWallet::new(ports.wallet));
        ports.catalogue = Arc::new(ports.routes.catalogue(&ports.catalogue));
        let steps = JobSteps { feed: Arc::new(JobFeed::new()), unpaid: Arc::default() };
        let rules = Arc::new(settings.rules.clone());
        let listener = JobSteps { feed: steps.feed.clone(), unpaid: steps.unpaid.clone() };
        let committer = Committer::start(ports.store.clone(), ports.clock.clone(), rules, Arc::new(listener));
        let core = Arc::new(Core { ports: watched(ports), settings, committer });
        let backend = Arc::new(backend_health(&core));
        let idempotency = Arc::new(Idempotency::new(core.clone()));
        let identities = Arc::new(Identities::new(core.clone(), idempotency.clone(), secrets));
        let pool = Arc::new(Pool::new(core.clone()));
        let quotes = Arc::new(Quotes::new(core.clone(), pool.clone(), backend.clone())?);
        let job_owners = Arc::new(JobOwners::new(core.ports.store.clone()));
        let (kept_due, keep) = (Arc::new(Notify::new()), core.settings.idempotency_keep);
        let held = Arc::<UnpaidCounts>::default();
        let counts = OfferCounts { unpaid: steps.unpaid.clone(), held: held.clone() };
        let session_owners = SessionOwners::new(core.ports.store.clone(), counts, kept_due.clone(), keep);
        let session_owners = Arc::new(session_owners);
        let paid = Arc::new(Notify::new());
        let bootstrap_owners =
            Arc::new(BootstrapOwners::new(core.ports.store.clone(), steps.unpaid.clone(), paid.clone()));
        let owners: Vec<Arc<dyn OwnerLookup>> = vec![job_owners, session_owners, bootstrap_owners];
        let payments = Arc::new(Payments::new(core.clone(), owners, HoldKeys::new(claims)));
        let admission =
            Arc::new(Admission::new(core.clone(), identities.clone(), steps.unpaid.clone(), held));
        let purchases = Arc::new(Purchases::new(
            core.clone(),
            idempotency.clone(),
            identities.clone(),
            payments.clone(),
            admission.clone(),
        ));
        let payouts = Arc::new(Payouts::new(core.clone()));
        let services = SalesServices {
            purchases,
            payouts: payouts.clone(),
            idempotency: idempotency.clone(),
            identities: identities.clone(),
            payments: payments.clone(),
            quotes: quotes.clone(),
            backend: backend.clone(),
            admission,
        };
        let sessions = Arc::new(Sessions::new(
            core.clone(),
            services.clone(),
            MacaroonKeys::new(claims),
            WebhookSecrets::new(claims),
            kept_due,
        ));
        let credits = Arc::new(Credits::new(core.clone()));
        let asks = Arc::new(Asks::new(core.clone(), credits.clone(), services.clone()));
        let bootstraps = Arc::new(Bootstraps::new(core.clone(), services.clone(), claims, paid));
        let charging = Arc::new(Charging::new(core.clone(), vec![sessions.clone()]));
        let jobs = Arc::new(Jobs::new(core.clone(), services, &steps, ClaimTokens::of_jobs(claims)));
        let (retention, measuring) = (Retention::new(core.clone()), Measuring::new(core.clone()));
        let texts = Texts::new(core.clone());
        let receipts = Arc::new(Receipts::new(core.clone()));
        let reconciliation = Arc::new(Reconciliation::new(core.clone()));
        let servers = Arc::new(Servers::new(core.clone()));
        let readiness = LastReadiness::new(core.clone(), backend.clone());
        Ok(Self {
            quotes,
            jobs,
            asks,
            credits,
            sessions,
            bootstraps,
            payments,
            payouts,
            receipts,
            reconciliation,
            charging,
            pool,
            identities,
            idempotency,
            servers,
            texts,
            backend,
            retention,
            measuring,
            readiness,
            core,
        })
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

    /// A new id for a request.
    #[must_use]
    pub fn new_id(&self) -> uuid::Uuid {
        self.core.new_id()
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

    /// Audits everything, and says what was found in the log and in gauges.
    pub(crate) async fn audit_by_itself(&self) -> Result<(), EngineError> {
        let began = Instant::now();
        let report = self.audit().await?;
        let (findings, took) = (report.findings.len(), began.elapsed());
        let duration_ms = millis(took);
        gauge!(telemetry::AUDIT_SOUND).set(if findings == 0 { 1.0 } else { 0.0 });
        gauge!(telemetry::AUDIT_FINDINGS).set(telemetry::count(findings));
        gauge!(telemetry::AUDIT_SECONDS).set(took.as_secs_f64());
        gauge!(telemetry::AUDIT_AT).set(telemetry::unix_seconds(self.core.now()));
        if findings == 0 {
            info!(transfers = report.transfers, duration_ms, "audit: every sat is accounted for");
        } else {
            let first = report.findings.first().map(ToString::to_string).unwrap_or_default();
            error!(findings, problem = first, duration_ms, "audit: not sound; run `tithe audit`");
        }
        Ok(())
    }

    /// Whether everything that selling needs works, as it was found out a moment ago at most
    /// ([`Settings::readiness_interval`]). Takes a few seconds at most.
    pub async fn readiness(&self) -> Readiness {
        self.readiness.get().await
    }

    /// Probes the backend's models, and books what that has used; returns whether all of them work.
    pub(crate) async fn probe_backend(&self) -> bool {
        let (works, probes) = self.backend.probe_due().await;
        for probe in &probes {
            self.quotes.book_probe(probe).await;
        }
        works
    }

    /// Ends everything that has expired (jobs that never got an invoice, holds, reservations), and deletes what is no longer needed.
    /// Several servers may do it at once.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer; the rest is left for the next sweep.
    pub async fn sweep(&self) -> Result<(), EngineError> {
        self.jobs.sweep().await?;
        self.sessions.sweep().await?;
        self.bootstraps.sweep().await?;
        self.charging.sweep().await?;
        self.credits.sweep().await?;
        self.pool.sweep().await?;
        self.retention.sweep().await?;
        self.texts.sweep().await
    }
}

/// The health of the models that are sold, and of the one that evaluates.
fn backend_health(core: &Core) -> BackendHealth {
    let settings = &core.settings;
    let sold = std::iter::once(&settings.work_model).chain(&settings.offered_models).map(String::as_str);
    let embeds = |name: &&str| {
        core.ports.catalogue.model(name).is_some_and(|model| model.purpose == Purpose::Embeddings)
    };
    let (embeddings, work) = sold.partition(embeds);
    let targets = &|model: &str| core.targets(model);
    let models = ModelsInUse { evaluation: &settings.eval_model, work, embeddings, targets };
    BackendHealth::new(&models, settings.probe_backend)
}
