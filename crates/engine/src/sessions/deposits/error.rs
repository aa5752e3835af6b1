//! Why a session of the scheme `Payment` is not opened, used, topped up or closed.

use tithe_paywall::payment::Problem;

/// Why a session of the scheme `Payment` is not opened, used, topped up or closed. `Display` may be shown to customers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PaymentSessionError {
    /// The server's wallet cannot pay invoices without an amount, which clients of these sessions are refunded to; or a unit costs more than
    /// the largest deposit.
    #[error("no session of the scheme Payment is offered for this request")]
    NotOffered,
    /// There is no session of this id, or it is not one of the scheme `Payment`.
    #[error("session not found: expected the payment hash of a deposit that was paid and opened")]
    NotFound,
    /// The deposit was not opened. What was paid can be used once it is, or claimed.
    #[error("the session is not open: expected an `open` for its deposit first")]
    NotOpened,
    /// The session has ended: it was closed, or not used for too long. What was left is refunded to its return invoice.
    #[error("the session has ended; what was left is refunded to its return invoice")]
    Ended,
    /// The deposit was claimed back, or not used in time, so that it opens and tops up no session. What was not claimed yet can be.
    #[error("the deposit was claimed back, or was not used in time; what is left of it can be claimed")]
    DepositEnded,
    /// The challenge of a request has expired. Nothing was paid for it.
    #[error("the challenge has expired: expected one that has not")]
    ChallengeExpired,
    /// The challenge was used: for another request, with another return invoice, or to top another session up.
    #[error("the challenge was used for another request")]
    UsedForAnotherRequest,
    /// The session cannot be refunded to the return invoice. The deposit can still be opened with another one.
    #[error("invalid return invoice: {0}")]
    ReturnInvoice(String),
    /// The wallet has not reported the deposit yet, or it was never paid.
    #[error("the deposit has not arrived at the server's wallet yet; repeat the request shortly")]
    NotArrived,
}

impl PaymentSessionError {
    /// The problem type of the drafts (`draft-lightning-session-00`, "Error Responses"); `None` if the client is not to blame.
    #[must_use]
    pub const fn problem(&self) -> Option<Problem> {
        match self {
            Self::NotOffered | Self::NotArrived => None,
            Self::NotFound | Self::NotOpened => Some(Problem::SessionNotFound),
            Self::Ended => Some(Problem::SessionClosed),
            Self::ChallengeExpired => Some(Problem::ChallengeExpired),
            Self::UsedForAnotherRequest | Self::DepositEnded => Some(Problem::UnknownChallenge),
            Self::ReturnInvoice(_) => Some(Problem::InvalidReturnInvoice),
        }
    }
}
