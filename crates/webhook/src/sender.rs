//! Sending messages.

use async_trait::async_trait;
use std::error::Error;
use std::time::Duration;
use tithe_engine::sessions::{RefusedWebhookUrl, WebhookError, WebhookMessage, Webhooks};
use tithe_public_http::{ClientError, Destinations, Limits, PublicClient, Url};
use tithe_sessions::WebhookUrl;

/// The limits of one message. The response is not read beyond its status.
const LIMITS: Limits = Limits { time: Duration::from_secs(10), body_bytes_max: 0, redirects_max: 0 };

/// The HTTP client cannot be created: the system's certificates or its random source are unusable.
#[derive(Debug, thiserror::Error)]
#[error("cannot send webhooks")]
pub struct WebhookClientError(#[from] ClientError);

/// Sends messages to the webhooks of customers.
#[derive(Debug, Clone)]
pub struct WebhookSender {
    client: PublicClient,
}

impl WebhookSender {
    /// A sender to these destinations.
    ///
    /// # Errors
    /// [`WebhookClientError`].
    pub fn new(destinations: Destinations) -> Result<Self, WebhookClientError> {
        Ok(Self { client: PublicClient::new(destinations, LIMITS)? })
    }

    /// The URL, if messages are sent there.
    fn accepted(&self, url: &WebhookUrl) -> Result<Url, RefusedWebhookUrl> {
        self.client.check(url.as_str()).map_err(|refused| RefusedWebhookUrl { reason: refused.to_string() })
    }
}

#[async_trait]
impl Webhooks for WebhookSender {
    fn check(&self, url: &WebhookUrl) -> Result<(), RefusedWebhookUrl> {
        self.accepted(url).map(drop)
    }

    async fn send(&self, message: &WebhookMessage) -> Result<(), WebhookError> {
        let url = self.accepted(&message.url).map_err(|refused| WebhookError { reason: refused.reason })?;
        let sent_at = message.sent_at.unix_seconds().to_string();
        let headers = [
            ("Content-Type", "application/json"),
            ("webhook-id", &message.id),
            ("webhook-timestamp", &sent_at),
            ("webhook-signature", &message.signature),
        ];
        let sent = self.client.post(url, &headers, message.body.clone()).await;
        let status = sent.map_err(|failure| WebhookError { reason: reason(&failure) })?;
        if status.is_success() {
            return Ok(());
        }
        Err(WebhookError { reason: format!("the response has the status {}", status.as_u16()) })
    }
}

fn reason(failure: &dyn Error) -> String {
    let mut reason = failure.to_string();
    let mut cause = failure.source();
    while let Some(next) = cause {
        reason = format!("{reason}: {next}");
        cause = next.source();
    }
    reason
}
