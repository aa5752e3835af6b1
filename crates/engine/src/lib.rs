//! The use cases of Tithe, over ports.
//!
//! The engine reads through the ports, lets the domain decide, and writes through the ports; it knows no database, no
//! wallet, no model and no HTTP. Money moves in [`commands::Command`]s, which the [`committer::Committer`] batches and the
//! books (pure code) decide. Nothing is ever open across a network call: calls to wallets and models are steps between
//! two commits.
//!
//! ```no_run
//! use std::sync::Arc;
//! use tithe_engine::{Engine, Ports, Settings};
//! use tithe_trust::{Secret, Secrets};
//!
//! # async fn example(ports: Ports) -> Result<(), Box<dyn std::error::Error>> {
//! // Another service that embeds the engine brings its own adapters.
//! let secrets = Secrets::new(Secret::new("at least 32 random bytes"), vec![]);
//! let engine = Arc::new(Engine::new(ports, Settings::default(), &secrets)?);
//! engine.pool_open().await?;
//! let running = engine.start();
//! let estimate = engine.estimate("Why is the sky blue?", None, None, None).await?;
//! println!("about {}", estimate.expected.to_sats_rounding_up()?);
//! running.stop(std::time::Duration::from_secs(10)).await;
//! # Ok(())
//! # }
//! ```

pub mod audit;
mod books;
pub mod claim_token;
pub mod commands;
pub mod committer;
pub mod error;
mod estimate;
mod evaluation;
pub mod feed;
mod follow;
pub mod idempotency;
mod identities;
pub mod inference;
mod jobs;
mod keyed;
mod payments;
mod pool;
pub mod proof;
mod readiness;
mod relay;
mod rules;
mod run;
mod settings;
pub mod store;
mod sweep;
mod work;

pub use error::{EngineError, RequestError};
pub use estimate::{Estimate, FreeTierPreview};
pub use follow::{JobCursor, JobFollower, JobUpdate};
pub use identities::{LoggedIn, StandingView};
pub use jobs::{Answered, CreatedJob, JobView, NewJobRequest};
pub use pool::PoolStatus;
pub use readiness::Readiness;
pub use rules::Rules;
pub use run::Running;
pub use settings::Settings;

use claim_token::ClaimTokens;
use committer::Committer;
use feed::JobFeed;
use identities::RecentProofs;
use inference::Inference;
use payments::RecentlyChecked;
use std::sync::Arc;
use store::Store;
use tithe_clock::{Clock, Entropy, Timestamp};
use tithe_jobs::LeaseOwner;
use tithe_lightning::Wallet;
use tithe_pricing::{Catalogue, Model, PriceFeed, Terms};
use tithe_trust::{Challenges, IdentityTokens, Secrets};
use uuid::Uuid;

/// What the engine runs on.
#[derive(Clone)]
pub struct Ports {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The Lightning wallet.
    pub wallet: Arc<dyn Wallet>,
    /// Where work runs.
    pub inference: Arc<dyn Inference>,
    /// The price of bitcoin.
    pub prices: Arc<dyn PriceFeed>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Models and their prices.
    pub catalogue: Arc<Catalogue>,
}

/// A model that the settings name is not in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{role} is {name:?}, which is not in the model catalogue")]
pub struct UnknownModel {
    /// What it was to be used for.
    pub role: &'static str,
    /// Its name.
    pub name: String,
}

/// The use cases.
pub struct Engine {
    ports: Ports,
    settings: Settings,
    tokens: ClaimTokens,
    identity_tokens: IdentityTokens,
    challenges: Challenges,
    committer: Committer,
    feed: Arc<JobFeed>,
    owner: LeaseOwner,
    recently_checked: RecentlyChecked,
    recent_proofs: RecentProofs,
}

impl Engine {
    /// An engine on these ports. Starts its committer on the current runtime; workers start with [`Engine::start`].
    ///
    /// # Errors
    /// [`UnknownModel`] when the settings name a model that the catalogue does not have.
    pub fn new(ports: Ports, settings: Settings, secrets: &Secrets) -> Result<Self, UnknownModel> {
        let named =
            [("the evaluation model", &settings.eval_model), ("the work model", &settings.work_model)];
        let offered = settings.offered_models.iter().map(|name| ("an offered model", name));
        for (role, name) in named.into_iter().chain(offered) {
            if ports.catalogue.model(name).is_none() {
                return Err(UnknownModel { role, name: name.clone() });
            }
        }
        let feed = Arc::new(JobFeed::new());
        let rules = Arc::new(settings.rules.clone());
        let committer = Committer::start(ports.store.clone(), ports.clock.clone(), feed.clone(), rules);
        let owner = LeaseOwner(uuid::Builder::from_random_bytes(ports.entropy.bytes()).into_uuid());
        Ok(Self {
            tokens: ClaimTokens::new(secrets),
            identity_tokens: IdentityTokens::new(secrets, settings.identity_token_life),
            challenges: Challenges::new(secrets, Challenges::LIFE),
            ports,
            settings,
            committer,
            feed,
            owner,
            recently_checked: RecentlyChecked::default(),
            recent_proofs: RecentProofs::default(),
        })
    }

    /// What this engine runs on.
    #[must_use]
    pub const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// How this engine is set up.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where commands go.
    #[must_use]
    pub const fn committer(&self) -> &Committer {
        &self.committer
    }

    fn now(&self) -> Timestamp {
        self.ports.clock.now()
    }

    /// A new id: the time, then 74 random bits, so that ids sort by age and cannot be guessed.
    fn new_id(&self) -> Uuid {
        let millis = u64::try_from(self.now().unix_micros() / 1_000).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &self.ports.entropy.bytes()).into_uuid()
    }

    /// The operator's side of a price, now.
    async fn terms(&self) -> Result<Terms, EngineError> {
        let btc = self.ports.prices.btc_price().await.map_err(EngineError::NoPrice)?;
        Ok(Terms { margin: self.settings.margin, fixed_cost: self.settings.fixed_cost, btc })
    }

    /// The model that work is to run on.
    fn work_model(&self, asked: Option<&str>) -> Result<&Model, RequestError> {
        let name = asked.unwrap_or(&self.settings.work_model);
        let offered = name == self.settings.work_model || self.settings.offered_models.contains(name);
        let model = self.ports.catalogue.model(name).filter(|_| offered);
        model.ok_or_else(|| RequestError::UnknownModel { name: name.chars().take(100).collect() })
    }

    /// The model that evaluates. [`Engine::new`] has seen that there is one.
    fn eval_model(&self) -> Result<&Model, EngineError> {
        self.ports.catalogue.model(&self.settings.eval_model).ok_or(EngineError::Internal)
    }
}
