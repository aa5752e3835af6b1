//! The states of a bootstrap.

use std::fmt;
use std::str::FromStr;
use tithe_clock::Timestamp;

/// The state of a bootstrap.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum BootstrapState {
    /// It is not paid for, or its invoice is still to be made.
    AwaitingPayment,
    /// It is paid for, and the node is to be made.
    Provisioning {
        /// When it was paid for.
        paid_at: Timestamp,
        /// When the provisioner was first asked to make the node; `None` when it certainly was not, or certainly made none.
        begun_at: Option<Timestamp>,
    },
    /// The node can be used.
    Ready {
        /// The host name or the IP address.
        host: String,
        /// When the credentials were shown; they are not stored any more.
        delivered_at: Option<Timestamp>,
    },
    /// There is no node, and the customer is refunded.
    Failed {
        /// The reason, in words that customers may see.
        message: String,
        /// Since when the provisioner may have made a node all the same, which is to be destroyed; `None` when there is none.
        begun_at: Option<Timestamp>,
    },
    /// Nobody has paid in time.
    Expired,
}

/// The name of a state, as used by the API and the stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum StateName {
    /// It is not paid for.
    AwaitingPayment,
    /// The node is being made.
    Provisioning,
    /// The node can be used.
    Ready,
    /// There is no node, and the customer is refunded.
    Failed,
    /// Nobody has paid in time.
    Expired,
}

impl StateName {
    /// All state names.
    pub const ALL: [Self; 5] =
        [Self::AwaitingPayment, Self::Provisioning, Self::Ready, Self::Failed, Self::Expired];

    /// The name as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingPayment => "awaiting_payment",
            Self::Provisioning => "provisioning",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no state of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown bootstrap state: {0:?}")]
pub struct UnknownState(String);

impl FromStr for StateName {
    type Err = UnknownState;
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let found = Self::ALL.into_iter().find(|name| name.as_str() == text);
        found.ok_or_else(|| UnknownState(text.to_owned()))
    }
}
