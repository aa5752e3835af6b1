//! What a session pays for.

use std::fmt;
use std::str::FromStr;
use tithe_paywall::RequestDigest;
use tithe_pricing::{CallPrice, Terms};

/// What a session pays for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum SessionKind {
    /// Requests of the owner's choice, as long as the balance lasts.
    #[default]
    Prepaid,
    /// One request, of which the deposit is the price.
    OneRequest(Box<OneRequest>),
}

/// The request that a session of one request pays for, and what its price was computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OneRequest {
    /// The request. The payment buys no other.
    pub digest: RequestDigest,
    /// What it was priced at.
    pub terms: RequestTerms,
}

/// What one request was priced at. Whatever becomes of prices and settings until it is paid for, it is done at these.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RequestTerms {
    /// The model that does the work, or the path of the mounted route.
    pub model: String,
    /// The most output of the work, in tokens; 0 for embeddings.
    pub output_tokens: u64,
    /// The margin, the fixed cost and the BTC price.
    pub prices: Terms,
    /// The price of the call, if the work is a call of an operator's own service. Such a call is made at most once, unless it certainly
    /// has not been made.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub call: Option<CallPrice>,
}

impl SessionKind {
    /// The name of the kind.
    #[must_use]
    pub const fn name(&self) -> SessionKindName {
        match self {
            Self::Prepaid => SessionKindName::Prepaid,
            Self::OneRequest(_) => SessionKindName::OneRequest,
        }
    }

    /// The one request that is paid for; `None` if the session is prepaid.
    #[must_use]
    pub fn one_request(&self) -> Option<&OneRequest> {
        match self {
            Self::Prepaid => None,
            Self::OneRequest(one) => Some(one),
        }
    }
}

/// The name of a kind of sessions, as used by the stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionKindName {
    /// Requests of the owner's choice.
    Prepaid,
    /// One request.
    OneRequest,
}

impl SessionKindName {
    /// All names.
    pub const ALL: [Self; 2] = [Self::Prepaid, Self::OneRequest];

    /// The name as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepaid => "prepaid",
            Self::OneRequest => "one_request",
        }
    }
}

impl fmt::Display for SessionKindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no kind of sessions of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of session: {0:?}")]
pub struct UnknownSessionKind(String);

impl FromStr for SessionKindName {
    type Err = UnknownSessionKind;
    fn from_str(text: &str) -> Result<Self, UnknownSessionKind> {
        let found = Self::ALL.into_iter().find(|name| name.as_str() == text);
        found.ok_or_else(|| UnknownSessionKind(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for name in SessionKindName::ALL {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        assert!("postpaid".parse::<SessionKindName>().is_err());
    }
}
