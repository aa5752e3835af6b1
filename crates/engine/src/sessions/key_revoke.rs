//! Revokes a key of a session.

use crate::books::rows::{RowKind, SessionKeys};
use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_paywall::KeyId;
use tithe_sessions::{SessionId, SessionKey};

/// Revokes a key of a session that was used: neither it nor what was narrowed from it is accepted any more. Revoking again changes
/// nothing. Returns the key as it is now.
#[derive(Debug, Clone)]
pub struct SessionKeyRevoke {
    /// The session.
    pub session: SessionId,
    /// The key.
    pub key: KeyId,
}

impl Command for SessionKeyRevoke {
    type Reply = Box<SessionKey>;
    const NAME: &'static str = "session_key_revoke";

    fn declare(&self, keys: &mut RowKeys) {
        keys.session_keys.insert((self.session, self.key));
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Box<SessionKey>, Refusal> {
        let stored = books.rows.session_keys.get(&(self.session, self.key))?.cloned();
        let key = stored.ok_or_else(|| Refusal::not_found(SessionKeys::NAME, &self.key))?;
        let revoked = key.revoked(books.now());
        books.rows.session_keys.put(revoked.clone())?;
        Ok(Box::new(revoked))
    }
}
