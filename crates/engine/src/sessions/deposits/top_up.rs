//! Topping sessions of the scheme `Payment` up.

use super::find::refused;
use super::{PaymentSessionError, SessionCredential, SessionTopUpMove, TopUpOutcome};
use crate::error::{EngineError, InvalidProof};
use crate::sessions::Sessions;
use tithe_paywall::payment::{self, SessionAction};
use tracing::info;

impl Sessions {
    /// Adds the challenge's deposit to the session that the client names, once; repeating it is safe. Anybody may pay into a session.
    ///
    /// # Errors
    /// [`EngineError::PaymentSession`]: nothing was moved.
    pub async fn top_up_by_payment(
        &self,
        credential: &SessionCredential,
    ) -> Result<TopUpOutcome, EngineError> {
        let SessionAction::TopUp { .. } = &credential.action else {
            return Err(InvalidProof::Challenge(payment::Refused::Intent).into());
        };
        let target = self.opened_session(credential.payment_hash()).await?.id;
        let deposit = self.session_of_deposit(credential.deposit).await?;
        let id = deposit.id;
        if self.reported(deposit, credential.deposit).await?.is_none() {
            return Err(PaymentSessionError::NotArrived.into());
        }
        let top_up = SessionTopUpMove { deposit: id, target };
        let outcome = self.core.committer.commit(top_up).await.map_err(refused)?;
        if outcome == TopUpOutcome::Ended {
            self.payouts.wake();
        }
        let result = outcome.as_str();
        info!(session_id = %target, result, "topped up by a deposit");
        Ok(outcome)
    }
}
