//! Intents: what a payment is meant for.

use std::fmt;
use std::str::FromStr;

/// The intent of a challenge (`draft-httpauth-payment-00`, "Payment Intents").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Intent {
    /// `charge`: one payment for one request.
    Charge,
    /// `session`: a deposit, from which requests are paid.
    Session,
}

impl Intent {
    /// All intents.
    pub const ALL: [Self; 2] = [Self::Charge, Self::Session];

    /// The intent as it is in challenges.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Session => "session",
        }
    }
}

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Intent {
    type Err = UnknownIntent;
    fn from_str(text: &str) -> Result<Self, UnknownIntent> {
        Self::ALL.into_iter().find(|intent| intent.as_str() == text).ok_or(UnknownIntent)
    }
}

/// The text is not an [`Intent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown intent: expected charge or session")]
pub struct UnknownIntent;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_reads_as_it_prints() {
        for intent in Intent::ALL {
            assert_eq!(intent.to_string().parse(), Ok(intent));
        }
        for wrong in ["", "Charge", "charge ", "subscription"] {
            assert_eq!(wrong.parse::<Intent>(), Err(UnknownIntent), "{wrong:?}");
        }
    }
}
