//! Closes a session.

use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_sessions::{Session, SessionId};

/// Closes a session, and refunds what it has left. Requests that run are finished and charged; what their holds leave is refunded
/// then. Closing again changes nothing. Returns the session as it is now.
#[derive(Debug, Clone)]
pub struct SessionClose {
    /// The session.
    pub session: SessionId,
}

impl Command for SessionClose {
    type Reply = Box<Session>;
    const NAME: &'static str = "session_close";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_session(self.session);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Box<Session>, Refusal> {
        let session = books.session(self.session)?;
        let closed = session.closed(books.now())?;
        if closed == session {
            return Ok(Box::new(session));
        }
        Ok(Box::new(books.session_refund(&closed, "close")?))
    }
}
