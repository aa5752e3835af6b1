//! Asking a backend over HTTP, with a bound on everything: each wait, and every byte that is read.

mod address;
mod answer;
mod excerpt;
mod refusal;
mod retry_after;

pub use address::{ApiKey, ApiKeyError, BaseUrl, BaseUrlError};
pub(crate) use answer::Answer;
pub(crate) use excerpt::excerpt;
pub(crate) use refusal::ErrorKind;

use crate::failure::BackendFailure;
use reqwest::header::HeaderMap;
use reqwest::{Client, redirect};
use serde::Serialize;
use std::time::Duration;
use tithe_engine::inference::InferenceError;
use tokio::time::{Instant, timeout_at};

/// How long a backend may take and how much it may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until a connection stands, TLS included. Default: 5 seconds.
    pub connect: Duration,
    /// Until a stream begins, from when it was asked for. It does not bound whole completions, which begin when they
    /// are done. Default: 2 minutes.
    pub first_byte: Duration,
    /// Between two pieces of an answer that has begun. Generous, because a model that reasons is silent meanwhile.
    /// Default: 2 minutes.
    pub idle: Duration,
    /// For all of it. Default: 10 minutes.
    pub overall: Duration,
    /// The most bytes of one answer that are read. Default: 16 MiB.
    pub answer_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_mins(2),
            idle: Duration::from_mins(2),
            overall: Duration::from_mins(10),
            answer_bytes_max: 16 * 1024 * 1024,
        }
    }
}

/// The HTTP client could not be made: the system's certificates or its random source are unusable.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client for the AI backend cannot be made")]
pub struct SetupError(#[source] reqwest::Error);

/// How an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// At once, when it is done.
    Whole,
    /// As it is generated.
    Streamed,
}

/// One backend's connections.
#[derive(Debug)]
pub(crate) struct Transport {
    client: Client,
    url: reqwest::Url,
    key: Option<ApiKey>,
    limits: Limits,
}

impl Transport {
    /// Connections to the endpoint `url`, each request with `headers`. The `key` must be among them; it is named apart
    /// so that it can be struck out of what the backend says.
    pub(crate) fn new(
        url: reqwest::Url,
        headers: HeaderMap,
        key: Option<ApiKey>,
        limits: Limits,
    ) -> Result<Self, SetupError> {
        let client = Client::builder()
            .user_agent(concat!("tithe/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(limits.connect)
            // Deltas are small, and each is worth a packet of its own.
            .tcp_nodelay(true)
            // A backend that redirects would be sent the key and the prompt where the operator never meant them to go.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(SetupError)?;
        Ok(Self { client, url, key, limits })
    }

    /// Posts `body` as JSON; an answer that is not a success is an error.
    pub(crate) async fn post(
        &self,
        body: &(impl Serialize + Sync),
        delivery: Delivery,
    ) -> Result<Answer, InferenceError> {
        let now = Instant::now();
        let deadline = now + self.limits.overall;
        let begins_by = match delivery {
            Delivery::Whole => deadline,
            Delivery::Streamed => deadline.min(now + self.limits.first_byte),
        };
        let response = timeout_at(begins_by, self.client.post(self.url.clone()).json(body).send())
            .await
            .map_err(|_| InferenceError::TimedOut)?
            .map_err(not_sent)?;
        let status = response.status();
        let answer = Answer::new(response, deadline, &self.limits);
        if status.is_success() {
            return Ok(answer);
        }
        Err(refusal::read(answer, status, self.key.as_ref()).await)
    }
}

fn not_sent(error: reqwest::Error) -> InferenceError {
    // The address may be a secret of the operator's too.
    let error = error.without_url();
    if error.is_connect() {
        BackendFailure::Unreachable(error).unavailable(None)
    } else {
        BackendFailure::Broken(error).interrupted()
    }
}
