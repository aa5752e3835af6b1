//! The requests.

use super::retry_after;
use super::settings::{ApiToken, DigitalOceanError};
use super::wire::{Created, Droplet, Listed, NewDroplet, Problem};
use crate::excerpt;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use serde::de::DeserializeOwned;
use std::fmt;
use std::time::Duration;
use tithe_bootstrap::Destroyed;
use url::Url;

/// The maximum size of a response.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The most droplets that are listed. One order has one; a few more can be named in the log.
const LISTED_MAX: &str = "20";

/// The timeout for connecting, including TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The reason why a request has no result.
#[derive(Debug)]
pub(super) enum ApiError {
    /// The request was not sent.
    Unreachable(reqwest::Error),
    /// The connection broke or the time was over after the request, or a part of it, was sent.
    Broken(reqwest::Error),
    /// The response says that the request failed.
    Status { status: StatusCode, problem: Problem, retry_after: Option<Duration> },
    /// The response is longer than the limit.
    TooLarge,
    /// The response says that the request succeeded, and nothing else that can be understood.
    Unreadable(serde_json::Error),
}

impl ApiError {
    /// The reason for the operator's log, with `***` instead of `secrets`.
    pub fn reason(&self, secrets: &[&str]) -> String {
        match self {
            Self::Unreachable(error) | Self::Broken(error) => {
                excerpt::of(&excerpt::with_causes(error), secrets)
            }
            Self::Status { status, problem, .. } => {
                let Problem { id, message, request_id } = problem;
                // No message is known to quote the user data; one that did would disclose the operator's script.
                let message = if message.contains("#cloud-config") { "(not shown)" } else { message };
                let request = request_id.as_ref().map_or_else(String::new, |id| format!(" (request {id})"));
                let reason =
                    format!("DigitalOcean responds with {}: {id}: {message}{request}", status.as_u16());
                excerpt::of(&reason, secrets)
            }
            Self::TooLarge => {
                format!("invalid response of DigitalOcean: expected at most {BODY_BYTES_MAX} bytes")
            }
            Self::Unreadable(error) => {
                let (line, column) = (error.line(), error.column());
                format!("invalid response of DigitalOcean: unreadable at line {line}, column {column}")
            }
        }
    }

    /// How long to wait before the next request, if the response says it.
    pub const fn retry_after(&self) -> Option<Duration> {
        if let Self::Status { retry_after, .. } = self { *retry_after } else { None }
    }
}

/// The connection to the API.
pub(super) struct Api {
    client: Client,
    base_url: Url,
    token: ApiToken,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("base_url", &self.base_url.as_str()).finish_non_exhaustive()
    }
}

impl Api {
    #[expect(clippy::expect_used, reason = "a token is visible ASCII")]
    pub fn new(token: ApiToken, base_url: Url, timeout: Duration) -> Result<Self, DigitalOceanError> {
        let is_http = matches!(base_url.scheme(), "http" | "https");
        if !is_http || !base_url.username().is_empty() || base_url.password().is_some() {
            return Err(DigitalOceanError::BaseUrl);
        }
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {}", token.reveal())).expect("visible ASCII is a header");
        bearer.set_sensitive(true);
        let client = Client::builder()
            .user_agent(concat!("tithe/", env!("CARGO_PKG_VERSION")))
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]))
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .timeout(timeout)
            // Following a redirect would send the token and the password to a host that the operator did not configure.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(DigitalOceanError::Client)?;
        Ok(Self { client, base_url, token })
    }

    pub const fn token(&self) -> &ApiToken {
        &self.token
    }

    /// The droplets with a tag.
    pub async fn droplets(&self, tag: &str) -> Result<Vec<Droplet>, ApiError> {
        let mut url = self.droplets_url();
        url.query_pairs_mut().append_pair("tag_name", tag).append_pair("per_page", LISTED_MAX);
        match send(self.client.get(url)).await {
            Ok(response) => json(response).await.map(|listed: Listed| listed.droplets),
            // The tag does not exist, and so neither does a droplet that has it.
            Err(error) if is_not_found(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Makes a droplet.
    pub async fn create(&self, new: &NewDroplet) -> Result<Droplet, ApiError> {
        let response = send(self.client.post(self.droplets_url()).json(new)).await?;
        json(response).await.map(|created: Created| created.droplet)
    }

    /// Destroys all droplets with a tag.
    pub async fn delete(&self, tag: &str) -> Result<Destroyed, ApiError> {
        let mut url = self.droplets_url();
        url.query_pairs_mut().append_pair("tag_name", tag);
        match send(self.client.delete(url)).await {
            Ok(_no_content) => Ok(Destroyed::Now),
            Err(error) if is_not_found(&error) => Ok(Destroyed::NotFound),
            Err(error) => Err(error),
        }
    }

    fn droplets_url(&self) -> Url {
        let mut url = self.base_url.clone();
        url.set_query(None);
        // An http or https URL always has segments, so nothing is ever left out here.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["v2", "droplets"]);
        }
        url
    }
}

/// Returns true if the API itself, and not some other server on the way, says that there is no such thing.
fn is_not_found(error: &ApiError) -> bool {
    matches!(error, ApiError::Status { status: StatusCode::NOT_FOUND, problem, .. } if problem.id == "not_found")
}

/// Sends a request; an error status is returned as an error.
async fn send(request: RequestBuilder) -> Result<Response, ApiError> {
    let response = request.send().await.map_err(|error| {
        let error = error.without_url();
        if error.is_connect() { ApiError::Unreachable(error) } else { ApiError::Broken(error) }
    })?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = retry_after::read(response.headers());
    // What cannot be read is not needed either: the status says enough.
    let problem = json(response).await.unwrap_or_default();
    Err(ApiError::Status { status, problem, retry_after })
}

async fn json<T: DeserializeOwned>(mut response: Response) -> Result<T, ApiError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| ApiError::Broken(error.without_url()))? {
        if body.len().saturating_add(piece.len()) > BODY_BYTES_MAX {
            return Err(ApiError::TooLarge);
        }
        body.extend_from_slice(&piece);
    }
    serde_json::from_slice(&body).map_err(ApiError::Unreadable)
}
