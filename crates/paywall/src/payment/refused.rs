//! Why a credential is refused.

use super::{Intent, InvalidField, METHOD, Problem};

/// The reason why a credential is refused. Its `Display` may be shown to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The challenge is of another payment method.
    #[error("unsupported method: expected {METHOD}")]
    Method,
    /// The challenge is of another intent.
    #[error("unsupported intent: expected charge or session")]
    Intent,
    /// The challenge was altered, or is not ours.
    #[error("unknown challenge: expected one of this server, unchanged")]
    UnknownChallenge,
    /// The payload is not what the intent needs.
    #[error(transparent)]
    Payload(#[from] InvalidField),
    /// The preimage is that of another payment.
    #[error("wrong preimage: expected the preimage of the invoice that was to be paid")]
    Preimage,
    /// The challenge is for something else.
    #[error("wrong realm: expected a challenge for this service")]
    Realm,
    /// The challenge has expired.
    #[error("expired challenge: expected one that has not expired")]
    Expired(Intent),
    /// The challenge is for a request with another body.
    #[error("wrong body: expected the one that the challenge was issued for")]
    Body,
}

impl Refused {
    /// The problem to answer with.
    #[must_use]
    pub const fn problem(&self) -> Problem {
        match self {
            Self::Method => Problem::MethodUnsupported,
            Self::Intent | Self::Realm => Problem::InvalidChallenge,
            Self::UnknownChallenge => Problem::UnknownChallenge,
            Self::Payload(_) => Problem::LightningMalformedCredential,
            Self::Preimage => Problem::InvalidPreimage,
            Self::Expired(Intent::Charge) => Problem::ExpiredInvoice,
            Self::Expired(Intent::Session) => Problem::ChallengeExpired,
            Self::Body => Problem::VerificationFailed,
        }
    }
}
