//! Closing sessions.

use super::service::Sessions;
use super::session_close::{ReturnTo, SessionClose};
use super::steps::account_of;
use crate::error::EngineError;
use crate::payouts::RefundView;
use tithe_payouts::Destination;
use tithe_sessions::{Session, SessionId};

impl Sessions {
    /// Closes a session and refunds what it has left, to a destination if one is named. Closing again changes nothing, but for a
    /// destination that was not named before, or that could not be paid.
    ///
    /// # Errors
    /// [`EngineError::SessionState`], [`EngineError::Payout`] when the destination is unsuitable (then the session stays open),
    /// [`EngineError::NotFound`], [`EngineError::Busy`].
    pub async fn close(
        &self,
        id: SessionId,
        destination: Option<Destination>,
    ) -> Result<(Session, RefundView), EngineError> {
        if let Some(destination) = &destination {
            self.payouts.check(destination)?;
        }
        let network = self.core.ports.wallet.network();
        let return_to =
            destination.map(|destination| ReturnTo { destination, fees: self.payouts.fees(), network });
        let session = self.core.committer.commit(SessionClose { session: id, return_to }).await?;
        self.payouts.wake();
        let accrued = session.end().unwrap_or_default().refund;
        let refund = self.payouts.refund(account_of(id), accrued).await?;
        Ok((*session, refund))
    }
}
