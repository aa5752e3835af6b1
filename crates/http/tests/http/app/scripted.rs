//! A backend that answers as it was told, and stops where a test wants to act.

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;
use tithe_chat::{Api, Delta, Finish};
use tithe_engine::inference::{
    ChatEvent, ChatRequest, ChatStream, Completion, EmbeddingRequest, Embeddings, Inference, InferenceError,
};
use tithe_inference::SimInference;
use tithe_pricing::Usage;
use tokio_util::sync::CancellationToken;

/// How a scripted answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// It is complete, with this usage reported.
    Finished(Finish, Option<Usage>),
    /// The connection is cut.
    CutOff,
    /// The backend reports this usage, and then an error.
    FailedAfter(Usage),
    /// The backend fails before it has said anything.
    Failed,
    /// The backend cannot be reached.
    Away,
    /// The backend refuses the request.
    Refused,
    /// The backend does not answer in time.
    TimedOut,
}

/// Where an answer waits for a test.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    reached: CancellationToken,
    open: CancellationToken,
}

impl Gate {
    /// Waits until the answer has come to the gate.
    pub(crate) async fn reached(&self) {
        tokio::time::timeout(Duration::from_secs(20), self.reached.cancelled()).await.unwrap();
    }

    /// Lets the answer go on.
    pub(crate) fn open(&self) {
        self.open.cancel();
    }

    pub(super) async fn pass(&self) {
        self.reached.cancel();
        self.open.cancelled().await;
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) pieces: Vec<Delta>,
    pub(crate) ends: Ends,
    /// A gate after so many pieces.
    pub(crate) gate: Option<(usize, Gate)>,
    /// How long each piece takes after the gate.
    pub(crate) pace: Duration,
}

impl Script {
    /// An answer of these pieces of text.
    pub(crate) fn of(pieces: &[&str], ends: Ends) -> Self {
        let pieces = pieces.iter().map(|piece| Delta::Text((*piece).to_owned())).collect();
        Self { pieces, ends, gate: None, pace: Duration::ZERO }
    }

    /// The same with a gate after so many pieces.
    pub(crate) fn gated(mut self, after: usize) -> (Self, Gate) {
        let gate = Gate::default();
        self.gate = Some((after, gate.clone()));
        (self, gate)
    }

    /// The text of all pieces.
    pub(crate) fn text(&self) -> String {
        let texts = self.pieces.iter().filter_map(|piece| match piece {
            Delta::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }
}

/// The backend. Without a script, the simulation answers.
#[derive(Default)]
pub(crate) struct Scripted {
    sim: SimInference,
    scripts: Mutex<VecDeque<Script>>,
    embeddings: Mutex<VecDeque<Result<Embeddings, InferenceError>>>,
    asked: AtomicU32,
    models: Mutex<Vec<String>>,
    api: Option<Api>,
    said: Arc<AtomicUsize>,
}

impl Scripted {
    /// Says what the next request gets that has no answer yet.
    pub(crate) fn say(&self, script: Script) {
        self.scripts.lock().unwrap().push_back(script);
    }

    /// Says what the next request for embeddings gets that has no answer yet.
    pub(crate) fn embeds(&self, answer: Result<Embeddings, InferenceError>) {
        self.embeddings.lock().unwrap().push_back(answer);
    }

    /// A backend that speaks this API.
    pub(crate) fn speaking(api: Api) -> Self {
        Self { api: Some(api), ..Self::default() }
    }

    /// The names of the models of the requests that have come.
    pub(crate) fn models(&self) -> Vec<String> {
        self.models.lock().unwrap().clone()
    }

    /// How many requests have come.
    pub(crate) fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }

    /// How many events of the last answer were taken.
    pub(crate) fn said(&self) -> usize {
        self.said.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Inference for Scripted {
    fn api(&self) -> Option<Api> {
        self.api
    }

    async fn complete(&self, request: &ChatRequest) -> Result<Completion, InferenceError> {
        self.sim.complete(request).await
    }

    async fn stream(&self, request: &ChatRequest) -> Result<ChatStream, InferenceError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.models.lock().unwrap().push(request.model.clone());
        let script = self.scripts.lock().unwrap().pop_front();
        let Some(Script { pieces, ends, gate, pace }) = script else { return self.sim.stream(request).await };
        self.said.store(0, Ordering::SeqCst);
        let end = match ends {
            Ends::Failed => return Err(InferenceError::Failed(None)),
            Ends::Away => return Err(InferenceError::Unavailable { retry_after: None, source: None }),
            Ends::Refused => return Err(InferenceError::Refused(None)),
            Ends::TimedOut => return Err(InferenceError::TimedOut),
            Ends::Finished(finish, usage) => vec![Ok(ChatEvent::Finished { finish, usage })],
            Ends::CutOff => Vec::new(),
            Ends::FailedAfter(used) => vec![Ok(ChatEvent::Used(used)), Err(InferenceError::Failed(None))],
        };
        let pieces = pieces.into_iter().map(|piece| Ok(ChatEvent::Delta(piece)));
        let events = stream::iter(pieces.chain(end).enumerate());
        let said = Arc::clone(&self.said);
        let events = events.then(move |(n, event)| {
            let (gate, said) = (gate.clone().filter(|(after, _)| n >= *after), Arc::clone(&said));
            async move {
                match gate {
                    Some((after, gate)) if n == after => gate.pass().await,
                    Some(_) if !pace.is_zero() => tokio::time::sleep(pace).await,
                    _ => {}
                }
                said.fetch_add(1, Ordering::SeqCst);
                event
            }
        });
        Ok(events.boxed())
    }

    async fn embed(&self, request: &EmbeddingRequest) -> Result<Embeddings, InferenceError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let scripted = self.embeddings.lock().unwrap().pop_front();
        match scripted {
            Some(answer) => answer,
            None => self.sim.embed(request).await,
        }
    }
}
