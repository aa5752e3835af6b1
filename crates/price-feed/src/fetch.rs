//! Asking one source.

use crate::source::{Answer, AnswerError, Source};
use reqwest::{Client, StatusCode};
use std::time::Duration;

/// Why a source has no answer that counts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("it did not answer in time")]
    TimedOut,
    #[error("it cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("it answered with status {}", .0.as_u16())]
    Status(StatusCode),
    #[error("its answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("its answer cannot be read")]
    Unreadable(#[source] AnswerError),
    #[error("its answer is too old")]
    Stale,
}

/// How much one source gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// For the whole answer, connecting included.
    pub timeout: Duration,
    pub body_bytes_max: usize,
}

/// What `source` says now.
pub(crate) async fn ask(client: &Client, source: &Source, limits: Limits) -> Result<Answer, SourceError> {
    let body = tokio::time::timeout(limits.timeout, body(client, source, limits.body_bytes_max))
        .await
        .map_err(|_| SourceError::TimedOut)??;
    source.publisher().read(&body).map_err(SourceError::Unreadable)
}

async fn body(client: &Client, source: &Source, bytes_max: usize) -> Result<Vec<u8>, SourceError> {
    // The source's name is logged beside the error; its address would only repeat it.
    let unreachable = |error: reqwest::Error| SourceError::Unreachable(error.without_url());
    let mut response = client.get(source.url()).send().await.map_err(unreachable)?;
    if response.status() != StatusCode::OK {
        return Err(SourceError::Status(response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len().saturating_add(chunk.len()) > bytes_max {
            return Err(SourceError::TooLarge(bytes_max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
