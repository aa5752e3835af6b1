//! The HTTP transport to a backend, with a limit on every wait and on every byte read.

mod address;
mod answer;
mod excerpt;
mod refusal;
mod retry_after;

pub use address::{ApiKey, ApiKeyError, BaseUrl, BaseUrlError};
pub(crate) use answer::{Answer, Piece};
pub use excerpt::BackendText;
pub(crate) use excerpt::position;
pub(crate) use refusal::ErrorKind;

use crate::failure::BackendFailure;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, redirect};
use std::time::Duration;
use tithe_engine::inference::{InferenceError, TEXT_BYTES_MAX};
use tokio::time::{Instant, timeout_at};

/// The limits of a backend's responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The timeout for connecting, including TLS. Default: 5 seconds.
    pub connect: Duration,
    /// The timeout until a stream starts. It does not apply to whole completions, whose response starts when they are
    /// done. Default: 2 minutes.
    pub first_byte: Duration,
    /// The timeout between two pieces of a response. Generous, because a reasoning model is silent in the meantime.
    /// Default: 2 minutes.
    pub idle: Duration,
    /// The timeout for the whole response. A stream that has delivered text by then ends as one that is cut at a length.
    /// Default: 10 minutes.
    pub overall: Duration,
    /// The maximum size of the text of a stream, which then ends as one that is cut at a length, and of the body of a whole
    /// response. Default: 16 MiB.
    pub answer_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_mins(2),
            idle: Duration::from_mins(2),
            overall: Duration::from_mins(10),
            answer_bytes_max: usize::try_from(TEXT_BYTES_MAX).unwrap_or(usize::MAX),
        }
    }
}

/// The HTTP client cannot be created: the system's certificates or its random source are unusable.
#[derive(Debug, thiserror::Error)]
#[error("cannot create the HTTP client for the AI backend")]
pub struct SetupError(#[source] reqwest::Error);

/// The requested form of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// As a whole, when it is done.
    Whole,
    /// As a stream, while it is generated.
    Streamed,
}

/// The connections to one backend.
#[derive(Debug)]
pub(crate) struct Transport {
    client: Client,
    url: reqwest::Url,
    limits: Limits,
}

impl Transport {
    /// Connections to the endpoint `url`, each request with `headers`.
    pub(crate) fn new(url: reqwest::Url, headers: HeaderMap, limits: Limits) -> Result<Self, SetupError> {
        let client = Client::builder()
            .user_agent(concat!("tithe/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(limits.connect)
            // Deltas are small and must not be delayed.
            .tcp_nodelay(true)
            // Following a redirect would send the key and the prompt to a host that the operator did not configure.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(SetupError)?;
        Ok(Self { client, url, limits })
    }

    /// The same connections, for another endpoint of the backend.
    pub(crate) fn at(&self, url: reqwest::Url) -> Self {
        Self { client: self.client.clone(), url, limits: self.limits }
    }

    /// Posts `body`, which is JSON; an error status is returned as an error. `headers` are sent too, instead of those of the same name that
    /// every request has.
    pub(crate) async fn post(
        &self,
        body: Vec<u8>,
        headers: HeaderMap,
        delivery: Delivery,
    ) -> Result<Answer, InferenceError> {
        let now = Instant::now();
        let deadline = now + self.limits.overall;
        let begins_by = match delivery {
            Delivery::Whole => deadline,
            Delivery::Streamed => deadline.min(now + self.limits.first_byte),
        };
        let request = self.client.post(self.url.clone()).headers(headers);
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        let response = timeout_at(begins_by, request.send())
            .await
            .map_err(|_| InferenceError::TimedOut)?
            .map_err(not_sent)?;
        let status = response.status();
        let answer = Answer::new(response, deadline, &self.limits);
        if status.is_success() {
            return Ok(answer);
        }
        Err(refusal::read(answer, status).await)
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
