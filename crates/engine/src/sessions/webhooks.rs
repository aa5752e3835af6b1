//! The port through which owners of sessions are warned.

use async_trait::async_trait;
use tithe_clock::Timestamp;
use tithe_sessions::WebhookUrl;

/// A message to the owner of a session, signed as Standard Webhooks describes it (<https://www.standardwebhooks.com>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookMessage {
    /// Where it is sent.
    pub url: WebhookUrl,
    /// Its id: the same for the same warning, however often it is sent (`webhook-id`).
    pub id: String,
    /// When it is sent (`webhook-timestamp`, in seconds).
    pub sent_at: Timestamp,
    /// `v1,` and the base64 of the HMAC-SHA256 of `<id>.<timestamp>.<body>` (`webhook-signature`).
    pub signature: String,
    /// The body: JSON.
    pub body: String,
}

/// A message was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the webhook was not delivered: {reason}")]
pub struct WebhookError {
    /// The reason, for the operator's log.
    pub reason: String,
}

/// Messages are not sent to this URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct RefusedWebhookUrl {
    /// What is expected instead. The customer sees it.
    pub reason: String,
}

/// Sends messages to the URLs of customers. Their hosts are not trusted.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// Whether messages are sent to this URL at all, as far as can be seen without sending one.
    ///
    /// # Errors
    /// [`RefusedWebhookUrl`].
    fn check(&self, url: &WebhookUrl) -> Result<(), RefusedWebhookUrl>;

    /// Sends a message, within a time limit of the sender's own. It is delivered when the response is 2xx.
    ///
    /// # Errors
    /// [`WebhookError`]: it may have arrived all the same.
    async fn send(&self, message: &WebhookMessage) -> Result<(), WebhookError>;
}

/// Sends nothing: for a service whose customers are not warned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoWebhooks;

#[async_trait]
impl Webhooks for NoWebhooks {
    fn check(&self, _url: &WebhookUrl) -> Result<(), RefusedWebhookUrl> {
        Err(RefusedWebhookUrl { reason: "this server sends no webhooks".to_owned() })
    }

    async fn send(&self, _message: &WebhookMessage) -> Result<(), WebhookError> {
        Err(WebhookError { reason: "this server sends no webhooks".to_owned() })
    }
}
