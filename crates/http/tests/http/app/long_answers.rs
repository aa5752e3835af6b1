//! The simulated backend, whose answers can be long.

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tithe_chat::Delta;
use tithe_engine::inference::{
    ChatEvent, ChatRequest, ChatStream, Completion, EmbeddingRequest, Embeddings, Inference, InferenceError,
};
use tithe_inference::SimInference;

/// A request with this directive gets an answer of 300 000 characters and more.
pub(crate) const LONG: &str = "[test:long]";

/// The simulated backend, with longer answers to requests that ask for them.
#[derive(Default)]
pub(crate) struct LongAnswers(SimInference);

#[async_trait]
impl Inference for LongAnswers {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion, InferenceError> {
        self.0.complete(request).await
    }

    async fn stream(&self, request: &ChatRequest) -> Result<ChatStream, InferenceError> {
        let answer = self.0.stream(request).await?;
        if !request.chat.texts().any(|text| text.contains(LONG)) {
            return Ok(answer);
        }
        let more = ChatEvent::Delta(Delta::Text("It is a long story. ".repeat(15_000)));
        Ok(stream::iter([Ok(more)]).chain(answer).boxed())
    }

    async fn embed(&self, request: &EmbeddingRequest) -> Result<Embeddings, InferenceError> {
        self.0.embed(request).await
    }
}
