//! Sends messages to the webhooks of customers.
//!
//! A customer chooses the URL, so the host is not trusted: it must be https and have a public address, whatever its name resolves to at
//! the moment (no address of this machine or of the operator's network); redirects are not followed, no proxy is used, the time is limited, and the response is
//! not read beyond its status.

mod sender;

pub use sender::{WebhookClientError, WebhookSender};
pub use tithe_public_http::Destinations;
