//! A response in progress.

use super::{Limits, excerpt};
use crate::failure::BackendFailure;
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde::de::DeserializeOwned;
use std::time::Duration;
use tithe_engine::inference::InferenceError;
use tokio::time::{Instant, timeout_at};

/// A response whose headers have arrived. Dropping it closes the connection unless all of it was read.
#[derive(Debug)]
pub(crate) struct Answer {
    response: Response,
    deadline: Instant,
    idle: Duration,
    bytes_left: usize,
}

impl Answer {
    pub(super) const fn new(response: Response, deadline: Instant, limits: &Limits) -> Self {
        Self { response, deadline, idle: limits.idle, bytes_left: limits.answer_bytes_max }
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Returns true if the body is one JSON document. Some servers respond like this even when a stream was requested.
    pub(crate) fn is_json(&self) -> bool {
        let content_type = self.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        content_type.is_some_and(|value| {
            value.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
        })
    }

    /// The next piece of the body; `None` at the end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Vec<u8>>, InferenceError> {
        let by = self.deadline.min(Instant::now() + self.idle);
        let piece = timeout_at(by, self.response.chunk())
            .await
            .map_err(|_| InferenceError::TimedOut)?
            .map_err(|error| BackendFailure::Broken(error.without_url()).interrupted())?;
        let Some(piece) = piece else { return Ok(None) };
        self.bytes_left = self
            .bytes_left
            .checked_sub(piece.len())
            .ok_or_else(|| BackendFailure::Wrong("it is longer than the limit").nonsense())?;
        Ok(Some(piece.into()))
    }

    /// The whole body, which must be JSON.
    pub(crate) async fn json<T: DeserializeOwned>(mut self) -> Result<T, InferenceError> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece().await? {
            body.extend(piece);
        }
        serde_json::from_slice(&body)
            .map_err(|source| BackendFailure::Unreadable { excerpt: excerpt(&body), source }.nonsense())
    }

    /// The beginning of the body: at most `bytes_max` bytes, as far as they arrive within `wait`.
    pub(super) async fn beginning(mut self, bytes_max: usize, wait: Duration) -> Vec<u8> {
        self.deadline = self.deadline.min(Instant::now() + wait);
        let mut body = Vec::new();
        while body.len() < bytes_max {
            // What little there is still helps to find the cause.
            let Ok(Some(piece)) = self.piece().await else { break };
            body.extend(piece);
        }
        body.truncate(bytes_max);
        body
    }
}
