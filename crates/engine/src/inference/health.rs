//! Whether the backend can work at all.
//!
//! A backend that refuses the server itself (a wrong key, an unknown model, a bad certificate, a path that answers HTML, a quota that
//! is used up) fails every job. So each model is probed with a small completion (an embedding
//! model with a short text), at the start and again while it fails, and while it
//! fails no new job is sold. A request that fails is no proof by itself: it may be the request's fault, so it only leads to a probe.

use super::port::{ChatRequest, EmbeddingRequest, Inference, InferenceError};
use crate::error_chain::chain;
use std::collections::{BTreeMap, BTreeSet};
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

/// What is known of one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    /// It has answered, or nothing is known against it.
    Works,
    /// It has not been reached since this time.
    Away { since: Instant },
    /// It refuses the server itself.
    Refuses,
}

/// One model, and what is to be found out.
struct Model {
    health: Health,
    /// When it was last probed.
    probed: Option<Instant>,
    /// Whether a request has failed since.
    suspected: bool,
}

impl Model {
    /// Whether it is worth a probe: it was never probed, or it fails, or seems to.
    fn is_due(&self) -> bool {
        self.probed.is_none() || self.suspected || self.health != Health::Works
    }
}

/// The models that the backend must serve.
pub(crate) struct ModelsInUse<'a> {
    /// The one that evaluates.
    pub(crate) evaluation: &'a str,
    /// The ones that work is sold on.
    pub(crate) work: Vec<&'a str>,
    /// The ones that embeddings are sold of.
    pub(crate) embeddings: Vec<&'a str>,
}

/// Which models of the backend can work.
pub struct BackendHealth {
    backend: Arc<dyn Inference>,
    enabled: bool,
    evaluation: String,
    work: Vec<String>,
    embeddings: BTreeSet<String>,
    models: Mutex<BTreeMap<String, Model>>,
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
    pub(crate) fn new(backend: Arc<dyn Inference>, models: &ModelsInUse<'_>, enabled: bool) -> Self {
        let (evaluation, work) = (models.evaluation.to_owned(), &models.work);
        let work: Vec<String> = work.iter().map(|name| (*name).to_owned()).collect();
        let embeddings: BTreeSet<String> = models.embeddings.iter().map(|name| (*name).to_owned()).collect();
        let unknown =
            |name: &String| (name.clone(), Model { health: Health::Works, probed: None, suspected: false });
        let models = work.iter().chain(&embeddings).chain([&evaluation]).map(unknown).collect();
        let (probing, suspected) = (tokio::sync::Mutex::default(), Notify::new());
        Self {
            backend,
            enabled,
            evaluation,
            work,
            embeddings,
            models: Mutex::new(models),
            probing,
            suspected,
        }
    }

    /// Whether work on a model can be sold.
    #[must_use]
    pub fn can_sell(&self, model: &str) -> bool {
        self.lock().get(model).is_none_or(|model| model.health.can_sell())
    }

    /// Whether work on any model can be sold: one that fails does not stop the others.
    #[must_use]
    pub fn can_sell_any(&self) -> bool {
        self.can_sell(&self.evaluation) && self.work.iter().any(|model| self.can_sell(model))
    }

    /// A request was answered: whatever was wrong with the model is over.
    pub(crate) fn answered(&self, model: &str) {
        self.set(model, Health::Works, None);
    }

    /// A request has failed: the model is probed soon, unless the failure says nothing of it.
    pub(crate) fn suspect(&self, model: &str, failure: &InferenceError) {
        if self.enabled && !matches!(failure, InferenceError::Refused(_)) {
            if let Some(model) = self.lock().get_mut(model) {
                model.suspected = true;
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

    /// Whether the model refuses the server itself, after a request has failed in a way that suggests it: finds out, unless that was
    /// just done.
    pub(crate) async fn refuses(&self, model: &str) -> (bool, Option<ProbeUsage>) {
        if !self.enabled {
            return (false, None);
        }
        let used = self.probe(model).await;
        (self.lock().get(model).is_some_and(|model| model.health == Health::Refuses), used)
    }

    /// Probes every model that may not work; returns whether all do.
    pub(crate) async fn probe_due(&self) -> (bool, Vec<ProbeUsage>) {
        let due: Vec<String> =
            self.lock().iter().filter(|(_, model)| model.is_due()).map(|(name, _)| name.clone()).collect();
        let mut used = Vec::new();
        for model in due {
            used.extend(self.probe(&model).await);
        }
        (self.lock().values().all(|model| model.health == Health::Works), used)
    }

    /// Probes a model, unless that was just done.
    async fn probe(&self, model: &str) -> Option<ProbeUsage> {
        let _one_at_a_time = self.probing.lock().await;
        let is_fresh = self.lock().get(model).is_some_and(|model| {
            let fresh = if model.health == Health::Works { WORKS_FRESH } else { FAILS_FRESH };
            model.probed.is_some_and(|at| at.elapsed() < fresh)
        });
        if is_fresh {
            return None;
        }
        let purpose = if self.embeddings.contains(model) { Purpose::Embeddings } else { Purpose::Chat };
        let answered = timeout(PROBE_PATIENCE, ask(self.backend.as_ref(), model, purpose)).await;
        if let Some(model) = self.lock().get_mut(model) {
            model.probed = Some(Instant::now());
            model.suspected = false;
        }
        let failure = match answered {
            Ok(Ok(usage)) => {
                self.set(model, Health::Works, None);
                return Some(ProbeUsage { model: model.to_owned(), usage });
            }
            Ok(Err(failure)) => failure,
            Err(_elapsed) => InferenceError::TimedOut,
        };
        let may_have_worked = failure.may_have_worked();
        match failure {
            // It judges what it is asked: it works.
            InferenceError::Refused(_) => self.set(model, Health::Works, None),
            InferenceError::Misconfigured(_) | InferenceError::Nonsense(_) => {
                self.set(model, Health::Refuses, Some(&failure));
            }
            _ => self.set(model, Health::Away { since: Instant::now() }, Some(&failure)),
        }
        may_have_worked.then(|| ProbeUsage { model: model.to_owned(), usage: None })
    }

    fn set(&self, model: &str, found: Health, failure: Option<&InferenceError>) {
        let mut models = self.lock();
        let Some(known) = models.get_mut(model) else { return };
        let before = known.health;
        let after = match (before, found) {
            (Health::Away { since }, Health::Away { .. }) => Health::Away { since },
            (_, found) => found,
        };
        known.health = after;
        drop(models);
        let error = failure.map(|failure| chain(failure)).unwrap_or_default();
        match (before, after) {
            (Health::Works, Health::Works) => {}
            (_, Health::Works) => info!(model, "the AI backend works again"),
            (Health::Refuses, Health::Refuses) => warn!(model, error, "the AI backend still cannot work"),
            (_, Health::Refuses) => {
                error!(model, error, "the AI backend cannot work: new jobs are refused until it can");
            }
            (Health::Away { .. }, Health::Away { .. }) => {
                warn!(model, error, "the AI backend is still away");
            }
            (_, Health::Away { .. }) => {
                error!(
                    model,
                    error, "the AI backend does not answer: jobs wait, and new ones are soon refused"
                );
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Model>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
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
