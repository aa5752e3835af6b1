//! The client.

use crate::names::{AllowedNames, NoAllowedAddress, SystemNames};
use crate::rules::{Destinations, RefusedUrl, Rules};
use reqwest::dns::Resolve;
use reqwest::header::LOCATION;
use reqwest::{Client, StatusCode, redirect};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use url::Url;

/// How long an unused connection stays open. Strangers decide how many hosts there are.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// The limits of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a request may take, with its redirects and the body of the response.
    pub time: Duration,
    /// The largest body that is read.
    pub body_bytes_max: usize,
    /// The number of redirects that [`PublicClient::get`] follows.
    pub redirects_max: u8,
}

/// The HTTP client cannot be created: the system's certificates or its random source are unusable.
#[derive(Debug, thiserror::Error)]
#[error("cannot create the HTTP client")]
pub struct ClientError(#[source] reqwest::Error);

/// The reason why there is no response. It contains nothing of the URL or the response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The URL, or that of a redirect, is not allowed. Nothing was sent there.
    #[error(transparent)]
    Refused(#[from] RefusedUrl),
    /// There are more redirects than [`Limits::redirects_max`].
    #[error("too many redirects: expected at most {0}")]
    TooManyRedirects(u8),
    /// A redirect has no readable destination.
    #[error("invalid redirect: expected a URL in the `Location` header")]
    InvalidRedirect,
    /// The request took longer than [`Limits::time`].
    #[error("timeout")]
    TimedOut,
    /// The body is larger than [`Limits::body_bytes_max`].
    #[error("response too large: expected at most {0} bytes")]
    TooLarge(usize),
    /// The name of the host does not resolve.
    #[error("unknown host")]
    UnknownHost(#[source] reqwest::Error),
    /// There is no connection to the host, or no TLS: nothing was sent.
    #[error("cannot connect")]
    Unreachable(#[source] reqwest::Error),
    /// The connection failed later, or what arrived is not HTTP.
    #[error("connection failed")]
    Failed(#[source] reqwest::Error),
}

impl RequestError {
    fn failed(failure: reqwest::Error) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&failure);
        while let Some(error) = cause {
            if error.is::<NoAllowedAddress>() {
                return RefusedUrl::PrivateAddress.into();
            }
            cause = error.source();
        }
        // The URL may contain a secret.
        let failure = failure.without_url();
        if failure.is_dns() {
            Self::UnknownHost(failure)
        } else if failure.is_connect() {
            Self::Unreachable(failure)
        } else {
            Self::Failed(failure)
        }
    }
}

/// A response of any status but a redirect that was followed. `Debug` hides its body.
pub struct Response {
    status: StatusCode,
    body: Result<Vec<u8>, RequestError>,
}

impl Response {
    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The body.
    ///
    /// # Errors
    /// [`RequestError`] when the body did not arrive whole within the limits.
    pub fn into_body(self) -> Result<Vec<u8>, RequestError> {
        self.body
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("status", &self.status).finish_non_exhaustive()
    }
}

/// An HTTP client for URLs that strangers chose. Clones share their connections.
#[derive(Debug, Clone)]
pub struct PublicClient {
    client: Client,
    rules: Rules,
    limits: Limits,
}

impl PublicClient {
    /// A client for these destinations, with these limits for each request.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn new(destinations: Destinations, limits: Limits) -> Result<Self, ClientError> {
        Self::with(Rules::new(destinations), limits, Arc::new(SystemNames))
    }

    fn with(rules: Rules, limits: Limits, resolver: Arc<dyn Resolve>) -> Result<Self, ClientError> {
        let client = Client::builder()
            // Redirects are followed here, where each one is checked.
            .redirect(redirect::Policy::none())
            // A proxy would resolve the name itself.
            .no_proxy()
            .dns_resolver(Arc::new(AllowedNames { rules, resolver }))
            .https_only(!rules.http)
            .http1_only()
            .pool_idle_timeout(IDLE_MAX)
            .user_agent(concat!("tithe/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(ClientError)?;
        Ok(Self { client, rules, limits })
    }

    /// Parses a URL and checks whether it is requested at all, as far as can be seen without connecting.
    ///
    /// # Errors
    /// [`RefusedUrl`].
    pub fn check(&self, url: &str) -> Result<Url, RefusedUrl> {
        let url: Url = url.parse().map_err(|_| RefusedUrl::Invalid)?;
        self.rules.check(&url)?;
        Ok(url)
    }

    /// Sends a GET request and follows redirects, each of which is checked as the URL is.
    ///
    /// # Errors
    /// [`RequestError`]. A response whose body is not readable is a [`Response`] all the same, for the sake of its status.
    pub async fn get(&self, url: Url) -> Result<Response, RequestError> {
        let deadline = self.deadline();
        let response = timeout_at(deadline, self.follow(url)).await.map_err(|_| RequestError::TimedOut)??;
        let status = response.status();
        let body = timeout_at(deadline, self.body(response)).await.unwrap_or(Err(RequestError::TimedOut));
        Ok(Response { status, body })
    }

    /// Sends a POST request and returns the status of the response. Redirects are not followed, and the body is not read.
    ///
    /// # Errors
    /// [`RequestError`]. The request may have arrived all the same, unless it was [refused](RequestError::Refused).
    pub async fn post(
        &self,
        url: Url,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<StatusCode, RequestError> {
        self.rules.check(&url)?;
        let request = self.client.post(url).body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let response =
            timeout_at(self.deadline(), request.send()).await.map_err(|_| RequestError::TimedOut)?;
        Ok(response.map_err(RequestError::failed)?.status())
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.limits.time
    }

    async fn follow(&self, mut url: Url) -> Result<reqwest::Response, RequestError> {
        for _ in 0..=self.limits.redirects_max {
            self.rules.check(&url)?;
            let response = self.client.get(url.clone()).send().await.map_err(RequestError::failed)?;
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let target = location.and_then(|location| url.join(location).ok());
            url = target.ok_or(RequestError::InvalidRedirect)?;
        }
        Err(RequestError::TooManyRedirects(self.limits.redirects_max))
    }

    async fn body(&self, mut response: reqwest::Response) -> Result<Vec<u8>, RequestError> {
        let bytes_max = self.limits.body_bytes_max;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(RequestError::failed)? {
            if body.len().saturating_add(chunk.len()) > bytes_max {
                return Err(RequestError::TooLarge(bytes_max));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// Whether a status sends a GET request elsewhere (RFC 9110, 15.4). The others of 3xx leave a choice, or mean a cache.
const fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

#[cfg(test)]
mod tests;
