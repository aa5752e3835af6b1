//! The port to the backends that run AI work.

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use std::sync::Arc;
use std::time::Duration;
use tithe_chat::{Api, Chat, Delta, EmbeddingTask, Finish, Reply, Vectors};
use tithe_pricing::Usage;

/// The longest text of an answer that a backend's adapter reads, in bytes: what is longer is cut there, as at an output limit.
pub const TEXT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A chat to be completed.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    /// The model, by the name that the backend knows.
    pub model: String,
    /// The chat so far.
    pub chat: Arc<Chat>,
    /// The most output to generate, in tokens. It is always sent; what the chat says of it does not count.
    pub max_output_tokens: u64,
    /// Whether to always take the likeliest token, where the backend has such an option: for evaluations, which should not
    /// depend on chance.
    pub deterministic: bool,
}

/// A whole completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The answer.
    pub reply: Reply,
    /// The tokens used, if the backend reported them. All zeros is a report too: it is not the same as `None`.
    pub usage: Option<Usage>,
}

/// A part of a completion that is streamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatEvent {
    /// More of the answer.
    Delta(Delta),
    /// What the backend says that it has used so far. Only what is known when an answer fails needs it: the end repeats it.
    Used(Usage),
    /// The end; nothing follows. A stream that stops without it was cut off.
    Finished {
        /// Why it ended.
        finish: Finish,
        /// The tokens used, if the backend reported them.
        usage: Option<Usage>,
    },
}

/// Texts to be embedded.
#[derive(Debug, Clone)]
pub struct EmbeddingRequest {
    /// The model, by the name that the backend knows.
    pub model: String,
    /// The texts.
    pub task: Arc<EmbeddingTask>,
}

/// The embeddings of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embeddings {
    /// One vector for each input, in order.
    pub vectors: Vectors,
    /// The tokens used, if the backend reported them.
    pub usage: Option<Usage>,
}

/// Why work could not run. Its `Display` is safe to show to customers; the backend's own words are only in
/// [`std::error::Error::source`], for the operator's log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InferenceError {
    /// The backend cannot be reached or is overloaded, or its circuit breaker is open. Nothing was generated, and retrying later
    /// may help, however often this happens.
    #[error("the AI backend is not available")]
    Unavailable {
        /// How long to wait before the next attempt, if the backend said so.
        retry_after: Option<Duration>,
        /// The cause.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The backend did not answer in time. It may have done the work.
    #[error("the AI backend did not answer in time")]
    TimedOut,
    /// The backend failed at this request (HTTP 500 and the like). It may have done some of the work, and another request may
    /// well succeed.
    #[error("the AI backend failed")]
    Failed(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// The backend refused this request for its content or its length: repeating it will not help.
    #[error("the AI backend refused the request")]
    Refused(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// The backend refused the server itself: a wrong key, an unpaid bill, an unknown model, a parameter that it does not
    /// support. The operator must act.
    #[error("the AI backend is misconfigured")]
    Misconfigured(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// The stream ended before the completion did.
    #[error("the AI backend stopped in the middle of the answer")]
    Interrupted(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// The backend's answer is not what its API promises.
    #[error("the AI backend's answer is malformed")]
    Nonsense(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
}

impl InferenceError {
    /// Whether the backend may have done some of the work, although no text has come: it may have read the prompt, and reasoned.
    #[must_use]
    pub const fn may_have_worked(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Interrupted(_) | Self::Nonsense(_))
    }

    /// Whether the backend refused this request for what it asks.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

/// A completion as it is generated: deltas, then [`ChatEvent::Finished`]; or an error, after which nothing follows.
pub type ChatStream = BoxStream<'static, Result<ChatEvent, InferenceError>>;

/// A backend that runs AI work.
///
/// Implementations retry by themselves only where nothing can have been generated yet, and bound every wait.
#[async_trait]
pub trait Inference: Send + Sync {
    /// The API that the backend speaks, if it speaks one: a request that only this API can say goes to no other backend.
    fn api(&self) -> Option<Api> {
        None
    }

    /// Completes a chat and returns the whole text.
    async fn complete(&self, request: &ChatRequest) -> Result<Completion, InferenceError>;

    /// Completes a chat and streams the text. An error here means that no text was generated; later errors come through
    /// the stream.
    async fn stream(&self, request: &ChatRequest) -> Result<ChatStream, InferenceError>;

    /// Embeds texts. A backend whose API has no embeddings is [`InferenceError::Misconfigured`]: it must not be given embedding models.
    async fn embed(&self, request: &EmbeddingRequest) -> Result<Embeddings, InferenceError>;
}
