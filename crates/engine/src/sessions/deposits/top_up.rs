//! Topping sessions of the scheme `Payment` up.

use super::{PaymentSessionError, SessionCredential};
use crate::error::EngineError;
use crate::sessions::Sessions;

/// What became of a top-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopUpOutcome {
    /// The session has it.
    Credited,
    /// The session has ended, and the top-up is refunded to its return invoice.
    Ended,
}

impl Sessions {
    /// Adds the challenge's deposit to the session that the client names, once; repeating it is safe. Anybody may pay into a session.
    ///
    /// # Errors
    /// [`EngineError::PaymentSession`]: nothing was moved.
    pub async fn top_up_by_payment(
        &self,
        credential: &SessionCredential,
    ) -> Result<TopUpOutcome, EngineError> {
        let _credential = credential;
        Err(PaymentSessionError::NotOffered.into())
    }
}
