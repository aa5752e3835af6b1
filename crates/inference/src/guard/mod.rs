//! Retries and a circuit breaker around any backend.

mod breaker;
mod retry;

pub use breaker::{Admission, Blame, Breaker, BreakerSettings, BreakerState, RequestId};
pub use retry::RetrySettings;

use crate::failure::{BackendFailure, is_harmless_to_retry, retry_after};
use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _};
use retry::Retries;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tithe_chat::{Api, EmbeddingInput};
use tithe_clock::{Clock, Entropy};
use tithe_engine::inference::{
    ChatEvent, ChatRequest, ChatStream, Completion, EmbeddingRequest, Embeddings, Inference, InferenceError,
};
use tithe_engine::log::{chain, millis};

/// The settings of a guarded backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GuardSettings {
    /// The retry settings.
    pub retry: RetrySettings,
    /// The circuit breaker settings.
    pub breaker: BreakerSettings,
}

/// A backend with safe retries and a circuit breaker.
///
/// Only requests that certainly generated nothing are retried ([`BackendFailure::nothing_was_generated`]): a timeout
/// never, and a stream only until it has started. Every attempt passes the breaker; attempts that the caller cancels do
/// not count as failures.
pub struct Guarded<I> {
    backend: I,
    retry: RetrySettings,
    gate: Arc<Gate>,
    entropy: Arc<dyn Entropy>,
}

impl<I: Inference> Guarded<I> {
    /// Guards `backend`. `clock` measures the breaker's cooldown; `entropy` adds jitter to the retries.
    pub fn new(
        backend: I,
        settings: GuardSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let breaker = Mutex::new(Breaker::new(settings.breaker));
        Self { backend, retry: settings.retry, gate: Arc::new(Gate { breaker, clock }), entropy }
    }

    /// The state of the circuit breaker.
    pub fn state(&self) -> BreakerState {
        self.gate.breaker().state()
    }

    /// The guarded backend.
    pub const fn backend(&self) -> &I {
        &self.backend
    }

    /// Sends the request until it succeeds or a retry is pointless. The permit of the successful attempt is still open.
    async fn ask<T, F>(
        &self,
        id: RequestId,
        attempt: impl Fn() -> F + Send + Sync,
    ) -> Result<(T, Permit), InferenceError>
    where
        F: Future<Output = Result<T, InferenceError>> + Send,
    {
        let mut retries = Retries::new(self.retry);
        let mut permit = Gate::admit(&self.gate, id)?;
        loop {
            let error = match attempt().await {
                Ok(answer) => return Ok((answer, permit)),
                Err(error) => error,
            };
            permit.close(&error);
            if !is_harmless_to_retry(&error) {
                return Err(error);
            }
            let random = u64::from_le_bytes(self.entropy.bytes());
            let Some(delay) = retries.next_delay(retry_after(&error), random) else { return Err(error) };
            tracing::warn!(wait_ms = millis(delay), error = chain(&error), "retrying the AI backend");
            tokio::time::sleep(delay).await;
            // If the breaker has opened in the meantime, the backend's own error is more helpful.
            let Ok(next) = Gate::admit(&self.gate, id) else { return Err(error) };
            permit = next;
        }
    }
}

#[async_trait]
impl<I: Inference> Inference for Guarded<I> {
    fn api(&self) -> Option<Api> {
        self.backend.api()
    }

    async fn complete(&self, request: &ChatRequest) -> Result<Completion, InferenceError> {
        let (completion, permit) = self.ask(request_id(request), || self.backend.complete(request)).await?;
        permit.succeed();
        Ok(completion)
    }

    async fn stream(&self, request: &ChatRequest) -> Result<ChatStream, InferenceError> {
        let (events, permit) = self.ask(request_id(request), || self.backend.stream(request)).await?;
        Ok(watched(events, permit))
    }

    async fn embed(&self, request: &EmbeddingRequest) -> Result<Embeddings, InferenceError> {
        let (embeddings, permit) = self.ask(embedding_id(request), || self.backend.embed(request)).await?;
        permit.succeed();
        Ok(embeddings)
    }
}

/// Reports the result of the stream to the breaker.
fn watched(events: ChatStream, permit: Permit) -> ChatStream {
    stream::unfold((events, Some(permit)), |(mut events, mut permit)| async move {
        let event = events.next().await?;
        match &event {
            Ok(ChatEvent::Delta(_) | ChatEvent::Used(_)) => permit.iter_mut().for_each(Permit::answering),
            Ok(ChatEvent::Finished { .. }) => permit.take().into_iter().for_each(Permit::succeed),
            Err(error) => permit.take().into_iter().for_each(|permit| permit.close(error)),
        }
        Some((event, (events, permit)))
    })
    .boxed()
}

/// The breaker, shared with the active streams.
struct Gate {
    breaker: Mutex<Breaker>,
    clock: Arc<dyn Clock>,
}

impl Gate {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(gate: &Arc<Self>, request: RequestId) -> Result<Permit, InferenceError> {
        let admission = gate.breaker().admit(gate.clock.now());
        match admission {
            Ok(admission) => Ok(Permit { gate: Arc::clone(gate), request, admission: Some(admission) }),
            Err(wait) => Err(BackendFailure::BreakerOpen.unavailable(Some(wait))),
        }
    }

    /// Updates the breaker and logs when it opens or closes.
    fn change(&self, change: impl FnOnce(&mut Breaker)) {
        let (before, after) = {
            let mut breaker = self.breaker();
            let before = breaker.state();
            change(&mut breaker);
            (before, breaker.state())
        };
        match (before, after) {
            (BreakerState::Closed | BreakerState::HalfOpen, BreakerState::Open) => {
                tracing::warn!("circuit breaker opened: the AI backend keeps failing");
            }
            (BreakerState::HalfOpen, BreakerState::Closed) => {
                tracing::info!("circuit breaker closed: the AI backend is available again");
            }
            _ => {}
        }
    }
}

/// An attempt admitted by the breaker. Dropping it without a result means that the caller cancelled it.
struct Permit {
    gate: Arc<Gate>,
    request: RequestId,
    admission: Option<Admission>,
}

impl Permit {
    fn succeed(mut self) {
        self.take(Breaker::succeeded);
    }

    /// Counts only failures of the backend itself. A backend that rejects the request or our credentials is healthy.
    fn close(mut self, error: &InferenceError) {
        match error {
            InferenceError::Refused(_) | InferenceError::Misconfigured(_) => self.take(Breaker::succeeded),
            InferenceError::Unavailable { .. } => self.fail(Blame::Backend),
            // Whether the backend or the request is at fault is seen when others fail, too.
            _ => {
                let request = self.request;
                self.fail(Blame::Request(request));
            }
        }
    }

    fn fail(mut self, blame: Blame) {
        let now = self.gate.clock.now();
        self.take(|breaker, admission| breaker.failed(admission, blame, now));
    }

    fn answering(&mut self) {
        if let Some(admission) = &mut self.admission {
            self.gate.change(|breaker| *admission = breaker.answering(*admission));
        }
    }

    fn take(&mut self, close: impl FnOnce(&mut Breaker, Admission)) {
        if let Some(admission) = self.admission.take() {
            self.gate.change(|breaker| close(breaker, admission));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.take(Breaker::abandoned);
    }
}

/// The hash of a request.
fn request_id(request: &ChatRequest) -> RequestId {
    let mut hasher = DefaultHasher::new();
    request.model.hash(&mut hasher);
    for text in request.chat.texts() {
        text.hash(&mut hasher);
    }
    RequestId(hasher.finish())
}

/// The hash of a request for embeddings.
fn embedding_id(request: &EmbeddingRequest) -> RequestId {
    let mut hasher = DefaultHasher::new();
    request.model.hash(&mut hasher);
    match &request.task.input {
        EmbeddingInput::Texts(texts) => texts.hash(&mut hasher),
        EmbeddingInput::Tokens(texts) => texts.hash(&mut hasher),
    }
    RequestId(hasher.finish())
}
