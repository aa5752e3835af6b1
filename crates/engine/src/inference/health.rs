//! Whether the backend can work at all.
//!
//! A backend that refuses the server itself (a wrong key, an unknown model, a bad certificate, a path that answers HTML, a quota that
//! is used up) fails every job. So each model is probed with a small completion, at the start and again while it fails, and while it
//! fails no new job is sold. A request that fails is no proof by itself: it may be the request's fault, so it only leads to a probe.

use super::port::{ChatRequest, Inference, InferenceError, Message, Role};
use crate::error_chain::chain;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tithe_pricing::Usage;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tracing::{debug, error, info};

/// What a probe asks, and the most output that it allows.
pub(crate) const PROBE_TEXT: &str = "Answer with the word: ok";
pub(crate) const PROBE_OUTPUT_MAX: u64 = 16;

/// How long a probe may take.
const PROBE_PATIENCE: Duration = Duration::from_secs(30);

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

/// Which models of the backend can work.
pub struct BackendHealth {
    backend: Arc<dyn Inference>,
    enabled: bool,
    models: Mutex<BTreeMap<String, Health>>,
    /// Held while a model is probed; the time and the model of the last probe.
    probing: tokio::sync::Mutex<Option<(Instant, String)>>,
    suspected: Notify,
}

/// What a probe used, which is booked: nobody pays for it.
pub(crate) struct ProbeUsage {
    pub(crate) model: String,
    pub(crate) usage: Option<Usage>,
}

impl BackendHealth {
    /// Nothing is known yet. Without `enabled` nothing is ever probed, and every model counts as working.
    pub(crate) fn new(backend: Arc<dyn Inference>, models: &[&str], enabled: bool) -> Self {
        let models = models.iter().map(|name| ((*name).to_owned(), Health::Works)).collect();
        let (probing, suspected) = (tokio::sync::Mutex::default(), Notify::new());
        Self { backend, enabled, models: Mutex::new(models), probing, suspected }
    }

    /// Whether work on a model can be sold.
    #[must_use]
    pub fn can_sell(&self, model: &str) -> bool {
        self.lock().get(model).is_none_or(Health::can_sell)
    }

    /// Whether work on every model can be sold.
    #[must_use]
    pub fn can_sell_all(&self) -> bool {
        self.lock().values().all(Health::can_sell)
    }

    /// A request was answered: whatever was wrong with the model is over.
    pub(crate) fn answered(&self, model: &str) {
        self.set(model, Health::Works, None);
    }

    /// A request has failed: the model is probed soon, unless the failure says nothing of it.
    pub(crate) fn suspect(&self, failure: &InferenceError) {
        if self.enabled && !matches!(failure, InferenceError::Refused(_)) {
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
        (self.lock().get(model) == Some(&Health::Refuses), used)
    }

    /// Probes every model; returns whether all work.
    pub(crate) async fn probe_all(&self) -> (bool, Vec<ProbeUsage>) {
        let models: Vec<String> = self.lock().keys().cloned().collect();
        let mut used = Vec::new();
        for model in models {
            used.extend(self.probe(&model).await);
        }
        (self.lock().values().all(|health| *health == Health::Works), used)
    }

    /// Probes a model, unless that was just done.
    async fn probe(&self, model: &str) -> Option<ProbeUsage> {
        let mut last = self.probing.lock().await;
        let works = self.lock().get(model) == Some(&Health::Works);
        let fresh = if works { WORKS_FRESH } else { FAILS_FRESH };
        if last.as_ref().is_some_and(|(at, name)| name == model && at.elapsed() < fresh) {
            return None;
        }
        let request = ChatRequest {
            model: model.to_owned(),
            messages: vec![Message { role: Role::User, text: PROBE_TEXT.to_owned() }],
            max_output_tokens: PROBE_OUTPUT_MAX,
            deterministic: true,
        };
        let answered = timeout(PROBE_PATIENCE, self.backend.complete(&request)).await;
        *last = Some((Instant::now(), model.to_owned()));
        let failure = match answered {
            Ok(Ok(completion)) => {
                self.set(model, Health::Works, None);
                return Some(ProbeUsage { model: model.to_owned(), usage: completion.usage });
            }
            Ok(Err(failure)) => failure,
            Err(_elapsed) => InferenceError::TimedOut,
        };
        match failure {
            // It judges what it is asked: it works.
            InferenceError::Refused(_) => self.set(model, Health::Works, None),
            InferenceError::Misconfigured(_) | InferenceError::Nonsense(_) => {
                self.set(model, Health::Refuses, Some(&failure));
            }
            _ => self.set(model, Health::Away { since: Instant::now() }, Some(&failure)),
        }
        None
    }

    fn set(&self, model: &str, found: Health, failure: Option<&InferenceError>) {
        let mut models = self.lock();
        let Some(health) = models.get_mut(model) else { return };
        let before = *health;
        *health = match (before, found) {
            (Health::Away { since }, Health::Away { .. }) => Health::Away { since },
            (_, found) => found,
        };
        let after = *health;
        drop(models);
        let cause = failure.map(|failure| chain(failure)).unwrap_or_default();
        match (before, after) {
            (Health::Works, Health::Works) => {}
            (_, Health::Works) => info!(model, "the AI backend works again"),
            (Health::Refuses, Health::Refuses) => debug!(model, cause, "the AI backend still cannot work"),
            (_, Health::Refuses) => {
                error!(model, cause, "the AI backend cannot work: new jobs are refused until it can");
            }
            (Health::Away { .. }, Health::Away { .. }) => {
                debug!(model, cause, "the AI backend is still away")
            }
            (_, Health::Away { .. }) => {
                error!(
                    model,
                    cause, "the AI backend does not answer: jobs wait, and new ones are soon refused"
                );
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Health>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
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
