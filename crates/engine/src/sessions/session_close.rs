//! Closes a session.

use super::steps::account_of;
use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_lightning::Network;
use tithe_money::Msats;
use tithe_payouts::{Destination, FeePolicy, PayoutError};
use tithe_sessions::{Session, SessionId, SessionState};

/// Where what a session has left is paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTo {
    /// The destination.
    pub destination: Destination,
    /// What the routing fee may be.
    pub fees: FeePolicy,
    /// The network that the wallet is on.
    pub network: Network,
}

/// Closes a session, and refunds what it has left. Requests that run are finished and charged; what their holds leave is refunded
/// then. Closing again changes nothing but the destination of what is due. A session that pays for one request is not closed while that
/// runs, nor is one of the scheme `Payment` if a destination is named. Returns the session as it is now.
#[derive(Debug, Clone)]
pub struct SessionClose {
    /// The session.
    pub session: SessionId,
    /// Where what is left is paid. If that is unsuitable, the session stays open.
    pub return_to: Option<ReturnTo>,
}

impl Command for SessionClose {
    type Reply = Box<Session>;
    const NAME: &'static str = "session_close";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_session_refund(self.session);
        if let Some(ReturnTo { destination, .. }) = &self.return_to {
            keys.declare_destination(destination);
        }
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Box<Session>, Refusal> {
        let mut session = books.session(self.session)?;
        let (is_bought, returns) = (session.kind.one_request().is_some(), session.kind.payment().is_some());
        if (is_bought || (returns && self.return_to.is_some()))
            && !books.account(account_of(self.session))?.held().is_zero()
        {
            // It is about to be answered, and then closed; or all of what is left is refunded at once, when it is answered.
            return Err(Refusal::RequestInProgress);
        }
        // What becomes due later, when requests that run have ended, is paid there too.
        if let Some(ReturnTo { destination: Destination::Address(address), .. }) = &self.return_to {
            let directed = session.returning_to(address.clone(), books.now());
            if directed != session {
                books.rows.sessions.put(directed.clone())?;
                session = directed;
            }
        }
        let expired = matches!(session.state, SessionState::Expired(_)) && session.paid_in != Msats::ZERO;
        // What an expired session has left can still be claimed.
        if !(expired && self.return_to.is_some()) {
            let closed = session.closed(books.now())?;
            if closed != session {
                session = books.session_refund(&closed, "close")?;
            }
        }
        if let Some(ReturnTo { destination, fees, network }) = &self.return_to
            && !session.end().unwrap_or_default().refund.is_zero()
        {
            match books.payout_direct(account_of(self.session), destination, fees, *network) {
                // The session is closed all the same: there is nothing that could be paid.
                Ok(_) | Err(Refusal::Payout(PayoutError::NothingDue | PayoutError::Dust { .. })) => {}
                Err(refused) => return Err(refused),
            }
        }
        Ok(Box::new(session))
    }
}
