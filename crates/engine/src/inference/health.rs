//! Whether the backend can work at all.
//!
//! A backend that refuses the server itself (a wrong key, an unknown model, a bad certificate, a path that answers HTML, a quota that
//! is used up) fails every job. So each model is probed with a small completion (an embedding
//! model with a short text), at the start and again while it fails, and while it
//! fails no new job is sold. A request that fails is no proof by itself: it may be the request's fault, so it only leads to a probe.

use super::port::{ChatRequest, EmbeddingRequest, Inference, InferenceError};
use super::routes::{Target, TargetKey};
use crate::error_chain::chain;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tithe_chat::{Chat, EmbeddingTask};
use tithe_pricing::{Purpose, Usage};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

/// What a probe asks, and the most output that it allows.
pub(crate) const PROBE_TEXT: &str = "Answer with the word: ok";
pub(crate) const PROBE_OUTPUT_MAX: u64 = 16;

/// How long a probe may take.
const PROBE_PATIENCE: Duration = Duration::from_mins(1);

/// How long the result of a probe is not questioned: that the model works, and that it does not.
const WORKS_FRESH: Duration = Duration::from_secs(1);
const FAILS_FRESH: Duration = Duration::from_secs(5);

/// How long a backend may be away before nothing is sold any more: what is short disturbs nobody, because jobs wait.
const AWAY_PATIENCE: Duration = Duration::from_secs(30);

/// What is known of one model at one backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    /// It has answered, or nothing is known against it.
    Works,
    /// It has not been reached since this time.
    Away { since: Instant },
    /// It refuses the server itself.
    Refuses,
}

/// One model at one backend, and what is to be found out.
struct Watched {
    target: Target,
    /// What its model is for.
    purpose: Purpose,
    health: Health,
    /// When it was last probed.
    probed: Option<Instant>,
    /// Whether a request has failed since.
    suspected: bool,
}

impl Watched {
    /// Whether it is worth a probe: it was never probed, or it fails, or seems to.
    fn is_due(&self) -> bool {
        self.probed.is_none() || self.suspected || self.health != Health::Works
    }
}

/// The models that the backends must serve.
pub(crate) struct ModelsInUse<'a> {
    /// The one that evaluates.
    pub(crate) evaluation: &'a str,
    /// The ones that work is sold on.
    pub(crate) work: Vec<&'a str>,
    /// The ones that embeddings are sold of.
    pub(crate) embeddings: Vec<&'a str>,
    /// Where the work on a model is done.
    pub(crate) targets: &'a dyn Fn(&str) -> Vec<Target>,
}

/// Which models can work, at which backends.
pub struct BackendHealth {
    enabled: bool,
    evaluation: String,
    work: Vec<String>,
    /// Where the work on each model is done.
    routes: BTreeMap<String, Vec<TargetKey>>,
    targets: Mutex<BTreeMap<TargetKey, Watched>>,
    /// Held while a model is probed.
    probing: tokio::sync::Mutex<()>,
    suspected: Notify,
}

/// What a probe used, which is booked: nobody pays for it.
pub(crate) struct ProbeUsage {
    pub(crate) model: String,
    pub(crate) usage: Option<Usage>,
}

impl BackendHealth {
    /// Nothing is known yet. Without `enabled` nothing is ever probed, and every model counts as working.
    pub(crate) fn new(models: &ModelsInUse<'_>, enabled: bool) -> Self {
        let (mut routes, mut targets) = (BTreeMap::new(), BTreeMap::new());
        let chats = models.work.iter().chain([&models.evaluation]).map(|model| (model, Purpose::Chat));
        let embeddings = models.embeddings.iter().map(|model| (model, Purpose::Embeddings));
        for (model, purpose) in chats.chain(embeddings) {
            let found = (models.targets)(model);
            routes.insert((*model).to_owned(), found.iter().map(Target::key).collect());
            for target in found {
                let health = Health::Works;
                let unknown = Watched { target, purpose, health, probed: None, suspected: false };
                targets.insert(unknown.target.key(), unknown);
            }
        }
        Self {
            enabled,
            evaluation: models.evaluation.to_owned(),
            work: models.work.iter().map(|name| (*name).to_owned()).collect(),
            routes,
            targets: Mutex::new(targets),
            probing: tokio::sync::Mutex::default(),
            suspected: Notify::new(),
        }
    }

    /// Whether work on a model can be sold: one of the backends of its route can do it.
    #[must_use]
    pub fn can_sell(&self, model: &str) -> bool {
        let targets = self.lock();
        let can_work = |key| targets.get(key).is_none_or(|target| target.health.can_sell());
        self.routes.get(model).is_none_or(|route| route.iter().any(can_work))
    }

    /// Whether work on any model can be sold: one that fails does not stop the others.
    #[must_use]
    pub fn can_sell_any(&self) -> bool {
        self.can_sell(&self.evaluation) && self.work.iter().any(|model| self.can_sell(model))
    }

    /// Whether a target can work, as far as is known.
    pub(crate) fn can_work(&self, target: &Target) -> bool {
        self.lock().get(&target.key()).is_none_or(|target| target.health.can_sell())
    }

    /// A request was answered: whatever was wrong with the target is over.
    pub(crate) fn answered(&self, target: &Target) {
        self.set(&target.key(), Health::Works, None);
    }

    /// A request has failed: the target is probed soon, unless the failure says nothing of it.
    pub(crate) fn suspect(&self, target: &Target, failure: &InferenceError) {
        if self.enabled && !matches!(failure, InferenceError::Refused(_)) {
            if let Some(target) = self.lock().get_mut(&target.key()) {
                target.suspected = true;
            }
            self.suspected.notify_one();
        }
    }

    /// Waits until a failure gives a reason to probe.
    pub(crate) async fn suspected(&self) {
        self.suspected.notified().await;
    }

    /// Whether models are probed at all.
    pub(crate) const fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether every backend of a model refuses the server itself, after a request has failed in a way that suggests it: finds out,
    /// unless that was just done.
    pub(crate) async fn refuses(&self, model: &str) -> (bool, Vec<ProbeUsage>) {
        let Some(route) = self.routes.get(model).filter(|_| self.enabled) else { return (false, Vec::new()) };
        let mut used = Vec::new();
        for key in route {
            used.extend(self.probe(key).await);
        }
        let targets = self.lock();
        let refuses = |key| targets.get(key).is_some_and(|target| target.health == Health::Refuses);
        (route.iter().all(refuses), used)
    }

    /// Probes every target that may not work; returns whether all do.
    pub(crate) async fn probe_due(&self) -> (bool, Vec<ProbeUsage>) {
        let due: Vec<TargetKey> =
            self.lock().iter().filter(|(_, target)| target.is_due()).map(|(key, _)| key.clone()).collect();
        let mut used = Vec::new();
        for key in due {
            used.extend(self.probe(&key).await);
        }
        (self.lock().values().all(|target| target.health == Health::Works), used)
    }

    /// Probes a target, unless that was just done.
    async fn probe(&self, key: &TargetKey) -> Option<ProbeUsage> {
        let _one_at_a_time = self.probing.lock().await;
        let (target, purpose) = {
            let targets = self.lock();
            let known = targets.get(key)?;
            let fresh = if known.health == Health::Works { WORKS_FRESH } else { FAILS_FRESH };
            if known.probed.is_some_and(|at| at.elapsed() < fresh) {
                return None;
            }
            (known.target.clone(), known.purpose)
        };
        let answered = timeout(PROBE_PATIENCE, ask(target.inference.as_ref(), &target.model, purpose)).await;
        if let Some(known) = self.lock().get_mut(key) {
            known.probed = Some(Instant::now());
            known.suspected = false;
        }
        let model = || target.model.as_ref().to_owned();
        let failure = match answered {
            Ok(Ok(usage)) => {
                self.set(key, Health::Works, None);
                return Some(ProbeUsage { model: model(), usage });
            }
            Ok(Err(failure)) => failure,
            Err(_elapsed) => InferenceError::TimedOut,
        };
        let may_have_worked = failure.may_have_worked();
        match failure {
            // It judges what it is asked: it works.
            InferenceError::Refused(_) => self.set(key, Health::Works, None),
            InferenceError::Misconfigured(_) | InferenceError::Nonsense(_) => {
                self.set(key, Health::Refuses, Some(&failure));
            }
            _ => self.set(key, Health::Away { since: Instant::now() }, Some(&failure)),
        }
        may_have_worked.then(|| ProbeUsage { model: model(), usage: None })
    }

    fn set(&self, key: &TargetKey, found: Health, failure: Option<&InferenceError>) {
        let mut targets = self.lock();
        let Some(known) = targets.get_mut(key) else { return };
        let before = known.health;
        let after = match (before, found) {
            (Health::Away { since }, Health::Away { .. }) => Health::Away { since },
            (_, found) => found,
        };
        known.health = after;
        drop(targets);
        let (backend, model) = (&*key.0, &*key.1);
        let error = failure.map(|failure| chain(failure)).unwrap_or_default();
        match (before, after) {
            (Health::Works, Health::Works) => {}
            (_, Health::Works) => info!(backend, model, "the AI backend works again"),
            (Health::Refuses, Health::Refuses) => {
                warn!(backend, model, error, "the AI backend still cannot work");
            }
            (_, Health::Refuses) => {
                error!(
                    backend,
                    model, error, "the AI backend cannot work: new jobs are refused until it can"
                );
            }
            (Health::Away { .. }, Health::Away { .. }) => {
                warn!(backend, model, error, "the AI backend is still away");
            }
            (_, Health::Away { .. }) => {
                error!(
                    backend,
                    model, error, "the AI backend does not answer: jobs wait, and new ones are soon refused"
                );
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TargetKey, Watched>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a model is asked by a probe.
fn probe_of(model: &str) -> ChatRequest {
    ChatRequest {
        model: model.to_owned(),
        chat: Arc::new(Chat::of(PROBE_TEXT)),
        max_output_tokens: PROBE_OUTPUT_MAX,
        deterministic: true,
    }
}

/// Asks a model for as little as it can do; returns what that has used, if the backend reports it.
async fn ask(
    backend: &dyn Inference,
    model: &str,
    purpose: Purpose,
) -> Result<Option<Usage>, InferenceError> {
    match purpose {
        Purpose::Chat => Ok(backend.complete(&probe_of(model)).await?.usage),
        Purpose::Embeddings => {
            let task = Arc::new(EmbeddingTask::of(vec![PROBE_TEXT.to_owned()]));
            Ok(backend.embed(&EmbeddingRequest { model: model.to_owned(), task }).await?.usage)
        }
    }
}

/// Whether a model answers, for a command that checks a configuration: a small completion, or the embedding of a short text, which is not
/// booked.
///
/// # Errors
/// [`InferenceError`], of which [`InferenceError::Refused`] shows that the model works, too.
pub async fn probe(backend: &dyn Inference, model: &str, purpose: Purpose) -> Result<(), InferenceError> {
    match timeout(PROBE_PATIENCE, ask(backend, model, purpose)).await {
        Ok(answered) => answered.map(drop),
        Err(_elapsed) => Err(InferenceError::TimedOut),
    }
}

impl Health {
    fn can_sell(&self) -> bool {
        match self {
            Self::Works => true,
            Self::Away { since } => since.elapsed() < AWAY_PATIENCE,
            Self::Refuses => false,
        }
    }
}
