//! The port to the services that an operator sells calls of.

use async_trait::async_trait;
use bytes::Bytes;
use std::fmt;

/// The methods that a mounted route can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// The name in a request.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// The method of this name; `None` for another one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A call.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamCall {
    /// The method.
    pub method: Method,
    /// What follows the upstream's own path, percent-encoded and checked ([`super::MountPath::below`]); empty for nothing.
    pub below: String,
    /// The query, without the question mark.
    pub query: Option<String>,
    /// The headers that are passed on: names in lower case, and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Bytes,
}

impl fmt::Debug for UpstreamCall {
    /// Without what the customer has sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamCall").field("method", &self.method).finish_non_exhaustive()
    }
}

/// What a service has answered, other than with a status of 500 or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// The status: 200 to 499.
    pub status: u16,
    /// The headers that are passed on.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The tokens that the service says it has used, if the body says so.
    pub tokens: Option<u64>,
}

impl Called {
    /// Whether the service has refused the request for what it is. Then it is not charged.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        self.status >= 400
    }
}

/// Why a call has no answer. Its `Display` is safe to show to customers; the cause is only in [`std::error::Error::source`], for the
/// operator's log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// There was no connection: certainly nothing was sent.
    #[error("the service behind this route cannot be reached")]
    Unreachable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// The service has said that it failed.
    #[error("the service behind this route has failed (HTTP {status})")]
    Failed {
        /// The status: 500 or more.
        status: u16,
    },
    /// There was no answer, or not all of it, in time.
    #[error("the service behind this route did not answer in time")]
    TimedOut,
    /// The connection has failed before the end of the answer, or what came is not HTTP.
    #[error("the service behind this route broke off its answer")]
    BrokenOff(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// The answer is larger than what can be passed on.
    #[error("the answer of the service behind this route is too large: expected at most {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
}

impl UpstreamError {
    /// Whether the service may have done what it was called for: then it is not called again.
    #[must_use]
    pub const fn may_have_worked(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Failed { .. } => false,
            Self::TimedOut | Self::BrokenOff(_) | Self::TooLarge { .. } => true,
        }
    }
}

/// Receives an answer while it arrives, in pieces of text.
pub type Pieces<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// A service of the operator's.
///
/// Implementations never repeat a call by themselves, and bound every wait and every answer.
#[async_trait]
pub trait Upstream: Send + Sync {
    /// Whether there is a connection to the service, or was one a moment ago.
    async fn is_reachable(&self) -> bool;

    /// Calls the service. If the answer is a stream of events (`text/event-stream`), `pieces` gets it as it arrives.
    ///
    /// # Errors
    /// [`UpstreamError`].
    async fn call(&self, call: &UpstreamCall, pieces: Option<Pieces<'_>>) -> Result<Called, UpstreamError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_certainly_was_not_done_or_has_failed_may_be_tried_again() {
        for (failure, may_have_worked) in [
            (UpstreamError::Unreachable(None), false),
            (UpstreamError::Failed { status: 500 }, false),
            (UpstreamError::TimedOut, true),
            (UpstreamError::BrokenOff(None), true),
            (UpstreamError::TooLarge { limit: 1 }, true),
        ] {
            assert_eq!(failure.may_have_worked(), may_have_worked, "{failure}");
        }
    }

    #[test]
    fn methods_read_back() {
        for method in Method::ALL {
            assert_eq!(Method::named(method.as_str()), Some(method));
        }
        assert_eq!((Method::named("HEAD"), Method::named("get")), (None, None));
    }
}
