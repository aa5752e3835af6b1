//! Querying one source.

use crate::source::{Answer, AnswerError, Source};
use reqwest::{Client, StatusCode};
use std::time::Duration;

/// The reason why a source has no usable price.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("timeout")]
    TimedOut,
    #[error("unreachable")]
    Unreachable(#[source] reqwest::Error),
    #[error("unexpected status {}", .0.as_u16())]
    Status(StatusCode),
    #[error("response too large: expected at most {0} bytes")]
    TooLarge(usize),
    #[error("unreadable response")]
    Unreadable(#[source] AnswerError),
    #[error("stale price")]
    Stale,
}

/// The limits for one source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The timeout for the whole response, including connecting.
    pub timeout: Duration,
    pub body_bytes_max: usize,
}

/// Queries the current price of `source`.
pub(crate) async fn ask(client: &Client, source: &Source, limits: Limits) -> Result<Answer, SourceError> {
    let body = tokio::time::timeout(limits.timeout, body(client, source, limits.body_bytes_max))
        .await
        .map_err(|_| SourceError::TimedOut)??;
    source.publisher().read(&body).map_err(SourceError::Unreadable)
}

async fn body(client: &Client, source: &Source, bytes_max: usize) -> Result<Vec<u8>, SourceError> {
    // The source's name is logged with the error; its address would only repeat it.
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
