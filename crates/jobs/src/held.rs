//! Work whose payment is held until it is done.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use tithe_pricing::{FinishReason, Price, Priced, Quote};

/// How the work of a job is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum WorkPayment {
    /// Before the work begins, with an ordinary invoice. What is not earned is refunded.
    #[default]
    Prepaid,
    /// With a hold invoice: the payment is held while the work runs, and taken when it is done, or given back.
    Held,
}

impl WorkPayment {
    /// Every way of payment.
    pub const ALL: [Self; 2] = [Self::Prepaid, Self::Held];

    /// The name used by the API and the stores.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepaid => "prepaid",
            Self::Held => "held",
        }
    }
}

impl fmt::Display for WorkPayment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no way of payment of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown payment of work: expected `prepaid` or `held`, got {0:?}")]
pub struct UnknownWorkPayment(String);

impl FromStr for WorkPayment {
    type Err = UnknownWorkPayment;
    fn from_str(text: &str) -> Result<Self, UnknownWorkPayment> {
        let found = Self::ALL.into_iter().find(|payment| payment.as_str() == text);
        found.ok_or_else(|| UnknownWorkPayment(text.to_owned()))
    }
}

/// The result of work whose payment is not settled yet. Nobody is shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(bound(
        serialize = "Q: serde::Serialize, Q::Usage: serde::Serialize",
        deserialize = "Q: serde::de::DeserializeOwned, Q::Usage: serde::de::DeserializeOwned"
    ))
)]
pub struct HeldAnswer<Q: Priced = Quote> {
    /// The model's output.
    pub text: Arc<str>,
    /// What the work used.
    pub usage: Q::Usage,
    /// Whether the usage was counted here, because the backend reported none.
    pub estimated: bool,
    /// Why the output ended.
    pub finish: FinishReason,
    /// The price of the usage, where the work ran. It may exceed what was quoted.
    pub price: Price,
}
