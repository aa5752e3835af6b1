//! Ends a session that nobody uses.

use super::steps::account_of;
use crate::books::{Books, Command, Refusal, RowKeys};
use std::time::Duration;
use tithe_sessions::{SessionError, SessionId};

/// Ends a session that nobody has used for a while, and refunds what it has left.
#[derive(Debug, Clone)]
pub struct SessionExpire {
    /// The session.
    pub session: SessionId,
    /// How long a session may be unused.
    pub idle: Duration,
}

impl Command for SessionExpire {
    type Reply = ();
    const NAME: &'static str = "session_expire";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_session_refund(self.session);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<(), Refusal> {
        let session = books.session(self.session)?;
        if !books.account(account_of(session.id))?.held().is_zero() {
            // A request runs.
            return Err(SessionError::NotOver.into());
        }
        let expired = session.expired_idle(self.idle, books.now())?;
        books.session_refund(&expired, "idle").map(drop)
    }
}
