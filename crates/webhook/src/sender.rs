//! Sending messages.

use crate::public_address::is_public;
use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::sessions::{RefusedWebhookUrl, WebhookError, WebhookMessage, Webhooks};
use tithe_sessions::WebhookUrl;

/// How long one message may take.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Where messages may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destinations {
    /// By https, to public addresses.
    Public,
    /// Anywhere, also by http, and to addresses of the operator's own network: for customers who are all trusted.
    Any,
}

/// The HTTP client cannot be created: the system's certificates or its random source are unusable.
#[derive(Debug, thiserror::Error)]
#[error("cannot create the HTTP client for webhooks")]
pub struct WebhookClientError(#[source] reqwest::Error);

/// Sends messages to the webhooks of customers.
#[derive(Debug, Clone)]
pub struct WebhookSender {
    client: Client,
    destinations: Destinations,
}

impl WebhookSender {
    /// A sender to these destinations.
    ///
    /// # Errors
    /// [`WebhookClientError`].
    pub fn new(destinations: Destinations) -> Result<Self, WebhookClientError> {
        let client = Client::builder()
            .timeout(TIME_LIMIT)
            .redirect(redirect::Policy::none())
            // A proxy would resolve the name itself.
            .no_proxy()
            .user_agent(concat!("tithe/", env!("CARGO_PKG_VERSION")));
        let client = match destinations {
            Destinations::Public => client.dns_resolver(Arc::new(PublicAddresses)).https_only(true),
            Destinations::Any => client,
        };
        Ok(Self { client: client.build().map_err(WebhookClientError)?, destinations })
    }

    /// The URL, if messages are sent there.
    fn accepted(&self, url: &WebhookUrl) -> Result<Url, RefusedWebhookUrl> {
        let refused = |reason: &str| RefusedWebhookUrl { reason: reason.to_owned() };
        let url: Url = url.as_str().parse().map_err(|_| refused("invalid URL: expected https://…"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("unexpected credentials: expected a URL without a user name or password"));
        }
        if self.destinations == Destinations::Any {
            return Ok(url);
        }
        if url.scheme() != "https" {
            return Err(refused("invalid URL: expected https://…"));
        }
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        let is_private = match host.parse::<IpAddr>() {
            Ok(address) => !is_public(address),
            // A name without a dot is one of the operator's network.
            Err(_) => matches!(host.rsplit_once('.'), None | Some((_, "localhost" | "local" | "internal"))),
        };
        if is_private {
            return Err(refused("private address: expected a host on the public internet"));
        }
        Ok(url)
    }
}

/// Resolves names to public addresses only: a name may point anywhere, and elsewhere the next time.
struct PublicAddresses;

impl Resolve for PublicAddresses {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err("the name has no public address".into());
            }
            let addresses: Addrs = Box::new(public.into_iter());
            Ok(addresses)
        })
    }
}

#[async_trait]
impl Webhooks for WebhookSender {
    fn check(&self, url: &WebhookUrl) -> Result<(), RefusedWebhookUrl> {
        self.accepted(url).map(drop)
    }

    async fn send(&self, message: &WebhookMessage) -> Result<(), WebhookError> {
        let url = self.accepted(&message.url).map_err(|refused| WebhookError { reason: refused.reason })?;
        let response = self
            .client
            .post(url)
            .header("Content-Type", "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", message.sent_at.unix_seconds().to_string())
            .header("webhook-signature", &message.signature)
            .body(message.body.clone())
            .send()
            .await;
        // The URL may contain a secret of the customer's.
        let response = response.map_err(|failure| WebhookError { reason: reason(&failure.without_url()) })?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        Err(WebhookError { reason: format!("the response has the status {}", status.as_u16()) })
    }
}

fn reason(failure: &dyn std::error::Error) -> String {
    let mut reason = failure.to_string();
    let mut cause = failure.source();
    while let Some(next) = cause {
        reason = format!("{reason}: {next}");
        cause = next.source();
    }
    reason
}
