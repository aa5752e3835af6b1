//! Claiming what is left of a payment: of one for a single request, or of a deposit.

use super::payment::is_awaited;
use super::service::Sessions;
use super::session_close::{ReturnTo, SessionClose};
use crate::books::Refusal;
use crate::committer::CommitError;
use crate::error::{EngineError, PaidRequestError};
use tithe_payouts::Destination;
use tithe_sessions::SessionId;

impl Sessions {
    /// Ends a session, if it has not ended, so that what is left becomes due; it is paid to this destination, unless a payment of it is in
    /// flight. A payment that nobody has reported is refused with `not_arrived`.
    pub(super) async fn claim(
        &self,
        id: SessionId,
        destination: Option<Destination>,
        not_arrived: EngineError,
    ) -> Result<(), EngineError> {
        if let Some(destination) = &destination {
            self.payouts.check(destination)?;
        }
        let session = self.view(id).await?.session;
        if is_awaited(&session) {
            return Err(not_arrived);
        }
        if session.end().is_some() && destination.is_none() {
            return Ok(());
        }
        let network = self.core.ports.wallet.network();
        let return_to =
            destination.map(|destination| ReturnTo { destination, fees: self.payouts.fees(), network });
        match self.core.committer.commit(SessionClose { session: id, return_to }).await {
            Ok(_) => {
                self.payouts.wake();
                Ok(())
            }
            Err(CommitError::Refused(Refusal::RequestInProgress)) => Err(PaidRequestError::Running.into()),
            Err(failure) => Err(failure.into()),
        }
    }
}
