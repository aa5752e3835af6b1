//! A response in progress.

use super::Limits;
use crate::failure::BackendFailure;
use bytes::Bytes;
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use std::time::Duration;
use tithe_engine::inference::InferenceError;
use tokio::time::{Instant, timeout_at};

/// A response whose headers have arrived. Dropping it closes the connection unless all of it was read.
#[derive(Debug)]
pub(crate) struct Answer {
    response: Response,
    deadline: Instant,
    idle: Duration,
    bytes_max: usize,
}

/// What comes next of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes.
    Bytes(Bytes),
    /// The end.
    End,
    /// The time for the whole response is over.
    OutOfTime,
}

impl Answer {
    pub(super) const fn new(response: Response, deadline: Instant, limits: &Limits) -> Self {
        Self { response, deadline, idle: limits.idle, bytes_max: limits.answer_bytes_max }
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

    /// The maximum size of a stream's text. A stream's own size is not limited: the events around the text may be many times
    /// larger.
    pub(crate) const fn text_bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// The next piece of the body.
    pub(crate) async fn piece(&mut self) -> Result<Piece, InferenceError> {
        let by = self.deadline.min(Instant::now() + self.idle);
        match timeout_at(by, self.response.chunk()).await {
            Ok(Ok(Some(piece))) => Ok(Piece::Bytes(piece)),
            Ok(Ok(None)) => Ok(Piece::End),
            Ok(Err(error)) => Err(BackendFailure::Broken(error.without_url()).interrupted()),
            Err(_elapsed) if by == self.deadline => Ok(Piece::OutOfTime),
            Err(_elapsed) => Err(InferenceError::TimedOut),
        }
    }

    /// The whole body.
    pub(crate) async fn body(mut self) -> Result<Vec<u8>, InferenceError> {
        let mut body = Vec::new();
        loop {
            match self.piece().await? {
                Piece::Bytes(piece) if body.len() + piece.len() > self.bytes_max => {
                    return Err(BackendFailure::Wrong("it is longer than the limit").nonsense());
                }
                Piece::Bytes(piece) => body.extend(piece),
                Piece::End => return Ok(body),
                Piece::OutOfTime => return Err(InferenceError::TimedOut),
            }
        }
    }

    /// The beginning of the body: at most `bytes_max` bytes, as far as they arrive within `wait`.
    pub(super) async fn beginning(mut self, bytes_max: usize, wait: Duration) -> Vec<u8> {
        self.deadline = self.deadline.min(Instant::now() + wait);
        let mut body = Vec::new();
        while body.len() < bytes_max {
            // What little there is still helps to find the cause.
            let Ok(Piece::Bytes(piece)) = self.piece().await else { break };
            body.extend(piece);
        }
        body.truncate(bytes_max);
        body
    }
}
