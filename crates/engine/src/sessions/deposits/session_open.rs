//! Opens a deposit.

use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_sessions::{Session, SessionId};

/// Opens a deposit of the scheme `Payment`: sets, once, the invoice that what is left is paid to. Repeating it changes nothing. What an
/// expired one has left is refunded to the invoice. Returns the session as it is now.
#[derive(Debug, Clone)]
pub struct SessionOpen {
    /// The session.
    pub session: SessionId,
    /// The invoice (BOLT11), without an amount, checked.
    pub return_invoice: String,
}

impl Command for SessionOpen {
    type Reply = Box<Session>;
    const NAME: &'static str = "session_open";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_session_refund(self.session);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Box<Session>, Refusal> {
        let session = books.session(self.session)?;
        let opened = session.opened(&self.return_invoice, books.now())?;
        if opened == session {
            return Ok(Box::new(session));
        }
        if opened.end().is_some() {
            return books.session_refund(&opened, "open").map(Box::new);
        }
        books.rows.sessions.put(opened.clone())?;
        Ok(Box::new(opened))
    }
}
