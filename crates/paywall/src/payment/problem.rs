//! The problem types of the drafts.

/// A problem type: what the body of a 402 (RFC 9457) says in `type`, `title` and `status`.
///
/// Those of the scheme are in `draft-httpauth-payment-00`, "Error Codes"; the others in the Lightning drafts, "Error
/// Responses".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Problem {
    /// The resource must be paid for.
    PaymentRequired,
    /// The payment was too small.
    PaymentInsufficient,
    /// The challenge or the authorization has expired.
    PaymentExpired,
    /// The proof is invalid.
    VerificationFailed,
    /// The payment method is not accepted.
    MethodUnsupported,
    /// The credential is malformed.
    MalformedCredential,
    /// The challenge is unknown, expired or used.
    InvalidChallenge,
    /// `lightning/malformed-credential`: a field that Lightning needs is missing or malformed.
    LightningMalformedCredential,
    /// `lightning/unknown-challenge`: the challenge is not ours, or was used.
    UnknownChallenge,
    /// `lightning/invalid-preimage`: the preimage is that of another payment.
    InvalidPreimage,
    /// `lightning/expired-invoice`: the invoice or the challenge of a charge has expired.
    ExpiredInvoice,
    /// `lightning/session-not-found`: there is no such session.
    SessionNotFound,
    /// `lightning/session-closed`: the session is closed.
    SessionClosed,
    /// `lightning/insufficient-balance`: the session must be topped up.
    InsufficientBalance,
    /// `lightning/challenge-expired`: the challenge of a session has expired.
    ChallengeExpired,
    /// `lightning/invalid-return-invoice`: the return invoice is malformed or has an amount.
    InvalidReturnInvoice,
}

impl Problem {
    /// All problem types.
    pub const ALL: [Self; 16] = [
        Self::PaymentRequired,
        Self::PaymentInsufficient,
        Self::PaymentExpired,
        Self::VerificationFailed,
        Self::MethodUnsupported,
        Self::MalformedCredential,
        Self::InvalidChallenge,
        Self::LightningMalformedCredential,
        Self::UnknownChallenge,
        Self::InvalidPreimage,
        Self::ExpiredInvoice,
        Self::SessionNotFound,
        Self::SessionClosed,
        Self::InsufficientBalance,
        Self::ChallengeExpired,
        Self::InvalidReturnInvoice,
    ];

    /// The `type`.
    #[must_use]
    pub const fn uri(self) -> &'static str {
        match self {
            Self::PaymentRequired => "https://paymentauth.org/problems/payment-required",
            Self::PaymentInsufficient => "https://paymentauth.org/problems/payment-insufficient",
            Self::PaymentExpired => "https://paymentauth.org/problems/payment-expired",
            Self::VerificationFailed => "https://paymentauth.org/problems/verification-failed",
            Self::MethodUnsupported => "https://paymentauth.org/problems/method-unsupported",
            Self::MalformedCredential => "https://paymentauth.org/problems/malformed-credential",
            Self::InvalidChallenge => "https://paymentauth.org/problems/invalid-challenge",
            Self::LightningMalformedCredential => {
                "https://paymentauth.org/problems/lightning/malformed-credential"
            }
            Self::UnknownChallenge => "https://paymentauth.org/problems/lightning/unknown-challenge",
            Self::InvalidPreimage => "https://paymentauth.org/problems/lightning/invalid-preimage",
            Self::ExpiredInvoice => "https://paymentauth.org/problems/lightning/expired-invoice",
            Self::SessionNotFound => "https://paymentauth.org/problems/lightning/session-not-found",
            Self::SessionClosed => "https://paymentauth.org/problems/lightning/session-closed",
            Self::InsufficientBalance => "https://paymentauth.org/problems/lightning/insufficient-balance",
            Self::ChallengeExpired => "https://paymentauth.org/problems/lightning/challenge-expired",
            Self::InvalidReturnInvoice => "https://paymentauth.org/problems/lightning/invalid-return-invoice",
        }
    }

    /// The `title`.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::PaymentRequired => "Payment Required",
            Self::PaymentInsufficient => "Payment Insufficient",
            Self::PaymentExpired => "Payment Expired",
            Self::VerificationFailed => "Verification Failed",
            Self::MethodUnsupported => "Method Unsupported",
            Self::MalformedCredential | Self::LightningMalformedCredential => "Malformed Credential",
            Self::InvalidChallenge => "Invalid Challenge",
            Self::UnknownChallenge => "Unknown Challenge",
            Self::InvalidPreimage => "Invalid Preimage",
            Self::ExpiredInvoice => "Expired Invoice",
            Self::SessionNotFound => "Session Not Found",
            Self::SessionClosed => "Session Closed",
            Self::InsufficientBalance => "Insufficient Balance",
            Self::ChallengeExpired => "Challenge Expired",
            Self::InvalidReturnInvoice => "Invalid Return Invoice",
        }
    }

    /// The `status`: that of the response.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::MethodUnsupported => 400,
            _ => 402,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_problem_has_a_type_of_its_own() {
        let uris: BTreeSet<_> = Problem::ALL.iter().map(|problem| problem.uri()).collect();
        assert_eq!(uris.len(), Problem::ALL.len());
        for problem in Problem::ALL {
            let name = problem.uri().rsplit('/').next().unwrap();
            assert_eq!(problem.title().to_lowercase().replace(' ', "-"), name);
            let status = if problem == Problem::MethodUnsupported { 400 } else { 402 };
            assert_eq!(problem.status(), status);
        }
    }
}
