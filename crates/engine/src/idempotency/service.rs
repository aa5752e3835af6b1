//! The use cases of idempotency keys.

use super::begin::{IdempotencyBegin, KeyBegun};
use super::finish::IdempotencyFinish;
use super::release::IdempotencyRelease;
use crate::core::Core;
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::identities::RequestSignature;
use crate::records::{IdempotencyId, IdempotencyRequest, IdempotencyState, KeyOrigin, StoredResponse};
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;
use uuid::Uuid;

/// A response to a request that may carry a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedResponse {
    /// The response.
    pub response: StoredResponse,
    /// Whether the response was given before.
    pub replayed: bool,
}

impl KeyedResponse {
    pub(crate) const fn new(response: StoredResponse) -> Self {
        Self { response, replayed: false }
    }

    /// A response that was given before.
    #[must_use]
    pub const fn replay(response: StoredResponse) -> Self {
        Self { response, replayed: true }
    }
}

/// How a request goes on that may have been done before.
pub(crate) enum Attached {
    /// It is to be done, under this key.
    Begin(Option<IdempotencyRequest>),
    /// It was answered.
    Answered(StoredResponse),
}

/// How long a repetition waits before it looks whether the first try has ended: this, doubled each time, up to the maximum.
const ATTACHED_INTERVAL: Duration = Duration::from_millis(100);
const ATTACHED_INTERVAL_MAX: Duration = Duration::from_secs(2);

/// What is known of a keyed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    Never,
    /// It was begun, and whoever began it has given up or died: it may be continued.
    Begun,
    /// It was answered.
    Answered(StoredResponse),
}

/// The use cases of idempotency keys.
pub struct Idempotency {
    core: Arc<Core>,
}

impl Idempotency {
    pub(crate) const fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// The response that was given to this request before, if there is one. It is the same whatever has become of prices and
    /// models. Begins nothing.
    ///
    /// # Errors
    /// [`EngineError::IdempotencyKeyReused`], [`EngineError::Busy`].
    pub async fn stored(&self, request: &IdempotencyRequest) -> Result<Option<StoredResponse>, EngineError> {
        let stored = self.core.ports.store.idempotency(&request.id).await?;
        let Some(stored) = stored.filter(|stored| self.core.now() < stored.expires_at) else {
            return Ok(None);
        };
        if stored.fingerprint != request.fingerprint {
            return Err(EngineError::IdempotencyKeyReused);
        }
        Ok(match stored.state {
            IdempotencyState::Done(response) => Some(response),
            IdempotencyState::InProgress { .. } => None,
        })
    }

    /// How a request goes on that may have been done before. A repetition waits while the first try still runs.
    ///
    /// # Errors
    /// As [`Self::stored`].
    pub(crate) async fn attach(&self, request: Option<IdempotencyRequest>) -> Result<Attached, EngineError> {
        let Some(request) = request else { return Ok(Attached::Begin(None)) };
        if request.origin == KeyOrigin::FirstTry {
            // Every request of an SDK is one, and its own command says all that would be read here.
            return Ok(Attached::Begin(Some(request)));
        }
        let mut wait = ATTACHED_INTERVAL;
        loop {
            let seen = match (self.seen(&request).await, request.origin) {
                (Ok(seen), _) => seen,
                // Its own command says so, too.
                (Err(EngineError::RequestInProgress), KeyOrigin::Client) => {
                    return Ok(Attached::Begin(Some(request)));
                }
                (Err(EngineError::RequestInProgress), KeyOrigin::FirstTry | KeyOrigin::Repetition) => {
                    tokio::time::sleep(wait).await;
                    wait = wait.saturating_mul(2).min(ATTACHED_INTERVAL_MAX);
                    continue;
                }
                (Err(failure), _) => return Err(failure),
            };
            return Ok(match seen {
                Seen::Answered(response) => Attached::Answered(response),
                _ => Attached::Begin(Some(request)),
            });
        }
    }

    /// What is known of a keyed request, before anything of it is consumed or done: the same bytes again must not fail because they
    /// were used before.
    ///
    /// # Errors
    /// [`EngineError::IdempotencyKeyReused`], [`EngineError::RequestInProgress`], [`EngineError::Busy`].
    pub async fn seen(&self, request: &IdempotencyRequest) -> Result<Seen, EngineError> {
        let now = self.core.now();
        let stored = self.core.ports.store.idempotency(&request.id).await?;
        let Some(stored) = stored.filter(|stored| now < stored.expires_at) else { return Ok(Seen::Never) };
        if stored.fingerprint != request.fingerprint {
            return Err(EngineError::IdempotencyKeyReused);
        }
        match stored.state {
            IdempotencyState::Done(response) => Ok(Seen::Answered(response)),
            IdempotencyState::InProgress { lease_until } if now < lease_until => {
                Err(EngineError::RequestInProgress)
            }
            IdempotencyState::InProgress { .. } => Ok(Seen::Begun),
        }
    }

    /// Does `work` once for its key and stores the response; repeating the request returns the same response. When `work`
    /// fails, a retry may begin at once. Without a key, `work` is simply done. The signature of the request is consumed when it
    /// begins.
    ///
    /// # Errors
    /// What `work` fails with; [`EngineError::IdempotencyKeyReused`], [`EngineError::RequestInProgress`].
    pub async fn once(
        &self,
        request: Option<IdempotencyRequest>,
        signature: RequestSignature,
        work: impl Future<Output = Result<StoredResponse, EngineError>>,
    ) -> Result<KeyedResponse, EngineError> {
        let Some(request) = request else {
            if let Some(nonce) = signature.0 {
                self.core.committer.commit(nonce).await?;
            }
            return Ok(KeyedResponse::new(work.await?));
        };
        let id = request.id.clone();
        let begin = IdempotencyBegin { request, signature };
        if let KeyBegun::Replayed(response) = self.core.committer.commit(begin).await? {
            return Ok(KeyedResponse::replay(response));
        }
        match work.await {
            Ok(response) => {
                let finish = IdempotencyFinish { id, response: response.clone() };
                if let Err(failure) = self.core.committer.commit(finish).await {
                    // The work was done, and the caller must learn that. A repetition will not find the response.
                    warn!(
                        error = chain(&failure),
                        "the response could not be stored for its idempotency key"
                    );
                }
                Ok(KeyedResponse::new(response))
            }
            Err(failure) => {
                self.release(id).await;
                Err(failure)
            }
        }
    }

    /// Ends the lease of a keyed request that failed. If that cannot be written, the lease runs out by itself.
    pub(crate) async fn release(&self, id: IdempotencyId) {
        self.release_of(id, None).await;
    }

    /// Like [`Self::release`], unless another request than the one that has made `subject` has begun since.
    pub(crate) async fn release_of(&self, id: IdempotencyId, subject: Option<Uuid>) {
        if let Err(failure) = self.core.committer.commit(IdempotencyRelease { id, subject }).await {
            warn!(error = chain(&failure), "the idempotency key stays in use until its lease runs out");
        }
    }
}
