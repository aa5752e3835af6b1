//! What a session pays for.

use crate::SessionId;
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
    /// Requests of whoever knows the preimage of the deposit, once that is opened (`draft-lightning-session-00`).
    Payment(Box<PaymentSession>),
}

/// A session of the scheme `Payment`: a deposit that somebody may open as a session, or top another one up with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PaymentSession {
    /// The invoice that what is left is paid to (BOLT11, without an amount), set once, by whoever opens the session. `None`: the deposit
    /// is not opened, and pays for nothing.
    pub return_invoice: Option<String>,
    /// The session that the deposit was paid in for, instead of being opened: it has the balance. It has not if it had ended before: then
    /// this deposit has the return invoice of that session, and is refunded.
    pub topped_up: Option<SessionId>,
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
            Self::Payment(payment) if payment.return_invoice.is_none() => SessionKindName::Deposit,
            Self::Payment(_) => SessionKindName::Payment,
        }
    }

    /// The one request that is paid for; `None` if the session pays for many.
    #[must_use]
    pub fn one_request(&self) -> Option<&OneRequest> {
        match self {
            Self::Prepaid | Self::Payment(_) => None,
            Self::OneRequest(one) => Some(one),
        }
    }

    /// The session of the scheme `Payment`; `None` if it is of another kind.
    #[must_use]
    pub fn payment(&self) -> Option<&PaymentSession> {
        match self {
            Self::Prepaid | Self::OneRequest(_) => None,
            Self::Payment(payment) => Some(payment),
        }
    }

    /// The invoice that what is left is paid to, of an opened session of the scheme `Payment`.
    #[must_use]
    pub fn return_invoice(&self) -> Option<&str> {
        let opened = self.payment().filter(|payment| payment.topped_up.is_none());
        opened?.return_invoice.as_deref()
    }
}

/// The name of a kind of sessions, as used by the stores. Each ends by itself after a time of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionKindName {
    /// Requests of the owner's choice.
    Prepaid,
    /// One request.
    OneRequest,
    /// A deposit of the scheme `Payment` that is not opened.
    Deposit,
    /// An opened session of the scheme `Payment`.
    Payment,
}

impl SessionKindName {
    /// All names.
    pub const ALL: [Self; 4] = [Self::Prepaid, Self::OneRequest, Self::Deposit, Self::Payment];

    /// The name as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepaid => "prepaid",
            Self::OneRequest => "one_request",
            Self::Deposit => "deposit",
            Self::Payment => "payment",
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
