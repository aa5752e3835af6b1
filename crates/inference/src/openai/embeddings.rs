//! Embeddings.

use super::events::failed;
use crate::failure::{BackendFailure, of_client};
use crate::transport::{Delivery, Transport};
use reqwest::header::HeaderMap;
use tithe_chat::Vectors;
use tithe_engine::inference::{EmbeddingRequest, Embeddings, InferenceError};
use tithe_openai_chat::embeddings::{Embedded, decode_reply, encode_request};

/// What the answer to one input may take, in bytes: 4096 numbers, each on an indented line of its own, as OpenAI writes them.
const INPUT_BYTES_MAX: usize = 128 * 1024;

/// What an answer may take, in bytes, however many inputs there are.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Embeds texts.
pub(super) async fn embed(
    transport: &Transport,
    request: &EmbeddingRequest,
) -> Result<Embeddings, InferenceError> {
    let EmbeddingRequest { model, task } = request;
    let mut body = Vec::new();
    encode_request(&mut body, task, model);
    let answer = transport.post(body, HeaderMap::new(), Delivery::Whole).await.map_err(|error| {
        // A request that no client has written has nothing that a backend could refuse.
        if task.body.is_empty() { error } else { of_client(error) }
    })?;
    let bytes_max = task.input.len().saturating_mul(INPUT_BYTES_MAX).min(ANSWER_BYTES_MAX);
    let body = answer.allowing(bytes_max).body().await?;
    let decoded = decode_reply(&body, task.input.len()).map_err(|error| failed(error, &body, false))?;
    let Embedded { vectors, usage } = decoded;
    let vectors = Vectors::new(vectors).map_err(|invalid| BackendFailure::Invalid(invalid).nonsense())?;
    Ok(Embeddings { vectors, usage })
}
