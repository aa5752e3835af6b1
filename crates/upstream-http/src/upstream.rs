//! The connections to a service.

use crate::address::{UpstreamHeaders, UpstreamUrl};
use crate::answer;
use crate::reachable::Reachable;
use async_trait::async_trait;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Client, redirect};
use std::time::Duration;
use tithe_engine::mounts::{Called, Pieces, Upstream, UpstreamCall, UpstreamError};
use tokio::time::{Instant, timeout_at};

/// How long a connection may take, including TLS.
const CONNECT: Duration = Duration::from_secs(5);

/// What is to be known of a service.
#[derive(Debug, Clone)]
pub struct UpstreamSettings {
    /// Where it is.
    pub url: UpstreamUrl,
    /// What is sent with each call, in place of what the customer sends under the same name.
    pub headers: UpstreamHeaders,
    /// How long a call may take, with its answer.
    pub timeout: Duration,
    /// The largest answer, in bytes.
    pub response_bytes_max: usize,
}

/// The HTTP client cannot be created: the system's certificates or its random source are unusable.
#[derive(Debug, thiserror::Error)]
#[error("cannot create the HTTP client for a mounted route")]
pub struct SetupError(#[source] reqwest::Error);

/// A service, over HTTP.
pub struct HttpUpstream {
    client: Client,
    settings: UpstreamSettings,
    reachable: Reachable,
}

impl HttpUpstream {
    /// The service with these settings. Nothing is sent yet.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(settings: UpstreamSettings) -> Result<Self, SetupError> {
        let client = Client::builder()
            .user_agent(concat!("tithe/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            // A redirect could lead to a host that the operator has not named. It is passed on to the customer.
            .redirect(redirect::Policy::none())
            // Nothing but the configuration says where a call goes.
            .no_proxy()
            // A call on an idle connection that the service closes at this moment is lost, and nobody knows whether it was made.
            .pool_max_idle_per_host(0)
            .retry(reqwest::retry::never())
            .build()
            .map_err(SetupError)?;
        Ok(Self { client, settings, reachable: Reachable::default() })
    }
}

#[async_trait]
impl Upstream for HttpUpstream {
    async fn is_reachable(&self) -> bool {
        self.reachable.look(&self.settings.url).await
    }

    async fn call(&self, call: &UpstreamCall, pieces: Option<Pieces<'_>>) -> Result<Called, UpstreamError> {
        let UpstreamSettings { url, headers, timeout, response_bytes_max } = &self.settings;
        let until = Instant::now() + *timeout;
        let Some(url) = url.at(&call.below, call.query.as_deref()) else {
            return Err(UpstreamError::Unreachable(None));
        };
        let method = match call.method.as_str() {
            "GET" => reqwest::Method::GET,
            "PUT" => reqwest::Method::PUT,
            "PATCH" => reqwest::Method::PATCH,
            "DELETE" => reqwest::Method::DELETE,
            _ => reqwest::Method::POST,
        };
        let mut request = self.client.request(method, url);
        for (name, value) in &call.headers {
            let named = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_bytes(value).ok());
            if let Some((name, value)) = named.filter(|(name, _)| !headers.0.contains_key(name)) {
                request = request.header(name, value);
            }
        }
        for (name, value) in &headers.0 {
            request = request.header(name, value);
        }
        if !call.body.is_empty() {
            request = request.body(call.body.clone());
        }
        let answering = async {
            let sent = timeout_at(until, request.send()).await.map_err(|_elapsed| UpstreamError::TimedOut)?;
            let response = sent.map_err(|failure| {
                // The URL is the operator's business.
                let failure = failure.without_url();
                if failure.is_connect() {
                    self.reachable.note(false);
                    UpstreamError::Unreachable(Some(Box::new(failure)))
                } else {
                    UpstreamError::BrokenOff(Some(Box::new(failure)))
                }
            })?;
            self.reachable.note(true);
            answer::read(response, *response_bytes_max, until, pieces).await
        };
        answering.await
    }
}
