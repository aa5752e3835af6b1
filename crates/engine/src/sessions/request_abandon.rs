//! Ends a request of a session whose server is gone.

use super::steps::account_of;
use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_ledger::HoldId;
use tithe_paywall::KeyId;
use tithe_sessions::{RequestId, RequestState, SessionId, SessionRequest};

/// The message for a customer whose request was abandoned.
const ABANDONED: &str = "The work was interrupted. Nothing was charged.";

/// Whether a request was ended because its server was gone.
pub(super) fn is_abandoned(request: &SessionRequest) -> bool {
    matches!(&request.state, RequestState::Failed { message } if message == ABANDONED)
}

/// Ends a request of a session whose hold's lease has run out: its server is gone, and nothing is charged.
#[derive(Debug, Clone)]
pub struct SessionRequestAbandon {
    /// The request, which is also the hold.
    pub request: RequestId,
    /// The session.
    pub session: SessionId,
    /// The keys that the request counts against.
    pub keys: Vec<KeyId>,
}

impl Command for SessionRequestAbandon {
    type Reply = ();
    const NAME: &'static str = "session_request_abandon";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_session_refund(self.session);
        keys.declare_hold(HoldId(self.request.0), account_of(self.session));
        keys.session_requests.insert(self.request);
        keys.session_keys.extend(self.keys.iter().map(|key| (self.session, *key)));
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<(), Refusal> {
        let account = books.account(account_of(self.session))?;
        let ended = books.hold(HoldId(self.request.0))?.expire(&account, books.now())?;
        books.hold_write(ended.hold, ended.account)?;
        // A hold on a session may be another service's, without a request of ours.
        let Some(request) = books.rows.session_requests.get(&self.request)?.cloned() else { return Ok(()) };
        let failed = RequestState::Failed { message: ABANDONED.to_owned() };
        if let Some(failed) = request.ended(failed, books.now()) {
            books.session_keys_end(&failed, None, false)?;
            books.rows.session_requests.put(failed)?;
        }
        let mut session = books.session(self.session)?;
        // The call of a mounted route may have been made: it is not made again, and the payment is returned.
        let is_call = session.kind.one_request().is_some_and(|one| one.terms.call.is_some());
        if is_call && session.end().is_none() {
            session = session.closed(books.now())?;
        }
        if session.end().is_some() {
            books.session_refund(&session, &format!("request:{}", self.request))?;
        }
        Ok(())
    }
}
