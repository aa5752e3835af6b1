//! Why a proof is none.

use crate::InvalidEvent;
use tithe_clock::Timestamp;

/// Why an event proves nothing here: neither a login nor who sent a request. Its `Display` may be shown to whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidProof {
    /// The `Authorization` header has another scheme.
    #[error("the Authorization header is not `Nostr <base64 of an event>`")]
    Scheme,
    /// The `Authorization` header's event is too long, or not base64 of text.
    #[error(
        "what follows `Nostr` in the Authorization header is not an event in base64, or is longer than allowed"
    )]
    Encoding,
    /// It holds no event, or one that its key has not signed.
    #[error(transparent)]
    Event(#[from] InvalidEvent),
    /// The event has a kind that proves something else.
    #[error("an event of kind {found} is no proof here; kind {taken} is taken")]
    Kind {
        /// The event's kind.
        found: u16,
        /// The kinds that are taken, in words.
        taken: &'static str,
    },
    /// The event was made too long ago.
    #[error("the event was made at {created_at}, which is too long ago; it is now {now}")]
    TooOld {
        /// The event's `created_at`.
        created_at: Timestamp,
        /// The time by the server's clock.
        now: Timestamp,
    },
    /// The event was made later than now.
    #[error("the event was made at {created_at}, which is in the future; it is now {now}")]
    FromTheFuture {
        /// The event's `created_at`.
        created_at: Timestamp,
        /// The time by the server's clock.
        now: Timestamp,
    },
    /// The event carries no nonce, or something that is none.
    #[error("the event carries no nonce: 64 lowercase hex digits in a `challenge` tag are")]
    NoNonce,
    /// The nonce was not made here.
    #[error("this server has not issued this nonce, or no longer knows that it has; ask for another")]
    UnknownNonce,
    /// The nonce was made too long ago.
    #[error("the nonce expired at {at}; ask for another")]
    ExpiredNonce {
        /// When it expired.
        at: Timestamp,
    },
    /// The event says that it is for somebody else.
    #[error("the event's `{tag}` tag names another site than this one")]
    Site {
        /// The tag that says so.
        tag: &'static str,
    },
    /// The event has no `u` tag, or several, or another URL than the request's in it.
    #[error(
        "the event needs one `u` tag with the request's whole URL, its query included and without a fragment"
    )]
    Url,
    /// The event has no `method` tag, or several, or another method than the request's in it.
    #[error("the event needs one `method` tag with the request's method")]
    Method,
    /// The event has no `payload` tag where the request has a body, or several, or another hash than the body's in it.
    #[error("the event needs one `payload` tag with the SHA-256 of the request's body in lowercase hex")]
    Payload,
}
