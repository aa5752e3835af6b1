//! Ends a session that never got an invoice.

use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_sessions::SessionId;

/// Ends a session whose deposit never got an invoice: nobody was shown it.
#[derive(Debug, Clone)]
pub struct SessionAbandon {
    /// The session.
    pub session: SessionId,
}

impl Command for SessionAbandon {
    type Reply = ();
    const NAME: &'static str = "session_abandon";

    fn declare(&self, keys: &mut RowKeys) {
        keys.sessions.insert(self.session);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<(), Refusal> {
        let abandoned = books.session(self.session)?.abandoned(books.now())?;
        books.rows.sessions.put(abandoned)
    }
}
