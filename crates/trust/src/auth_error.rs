//! Authentication errors.

use crate::InvalidEvent;
use tithe_clock::Timestamp;

/// The reason why an event authenticates neither a login nor a request. Its `Display` may be shown to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The `Authorization` header uses a different scheme.
    #[error("invalid Authorization header: expected `Nostr <base64 of an event>`")]
    Scheme,
    /// The event in the `Authorization` header is too long, or not base64 of UTF-8 text.
    #[error("invalid Authorization header: expected a base64-encoded event of at most 16 KiB after `Nostr`")]
    Encoding,
    /// The event is malformed or its signature is invalid.
    #[error(transparent)]
    Event(#[from] InvalidEvent),
    /// The event kind is not accepted here.
    #[error("wrong event kind: expected {taken}, got {found}")]
    Kind {
        /// The event's kind.
        found: u16,
        /// The accepted kinds, in words.
        taken: &'static str,
    },
    /// The event is too old.
    #[error("event too old: created at {created_at}, server time is {now}")]
    TooOld {
        /// The event's `created_at`.
        created_at: Timestamp,
        /// The server's current time.
        now: Timestamp,
    },
    /// The event's time is in the future.
    #[error("event from the future: created at {created_at}, server time is {now}")]
    FromTheFuture {
        /// The event's `created_at`.
        created_at: Timestamp,
        /// The server's current time.
        now: Timestamp,
    },
    /// The event has no nonce, or an invalid one.
    #[error("missing nonce: expected 64 lowercase hex digits in a `challenge` tag")]
    NoNonce,
    /// The nonce was not issued by this server.
    #[error("unknown nonce: not issued by this server, or no longer valid; request a new challenge")]
    UnknownNonce,
    /// The nonce has expired.
    #[error("nonce expired at {at}: request a new challenge")]
    ExpiredNonce {
        /// When it expired.
        at: Timestamp,
    },
    /// The event does not say which site it was signed for.
    #[error("missing site: expected a `relay` or `u` tag with a URL of this server")]
    NoSite,
    /// The event was signed for a different site.
    #[error("wrong site: the event's `{tag}` tag does not name this server")]
    Site {
        /// The name of the tag.
        tag: &'static str,
    },
    /// The event has no `u` tag, several, or one with a different URL.
    #[error(
        "wrong URL: expected one `u` tag with the request's full URL, including the query, without a fragment"
    )]
    Url,
    /// The event has no `method` tag, several, or one with a different method.
    #[error("wrong method: expected one `method` tag with the request's method")]
    Method,
    /// The request has a body and the event has no `payload` tag, several, or one with a different hash.
    #[error(
        "wrong payload hash: expected one `payload` tag with the lowercase hex SHA-256 of the request body"
    )]
    Payload,
}
