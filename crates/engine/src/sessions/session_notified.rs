//! Records that the owner of a session was warned.

use crate::books::rows::{RowKind, SessionKeys};
use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_paywall::KeyId;
#[cfg(doc)]
use tithe_sessions::{Session, SessionKey};
use tithe_sessions::{SessionId, UsageLevel};

/// Records that the owner of a session was told how much of the balance, or of the limit of a key, is used.
#[derive(Debug, Clone)]
pub struct SessionNotified {
    /// The session.
    pub session: SessionId,
    /// The key; `None` means the balance.
    pub key: Option<KeyId>,
    /// What the owner was told.
    pub level: UsageLevel,
    /// Of which balance or period ([`Session::warning_occasion`], [`SessionKey::warning_occasion`]): of a later one the owner was told nothing.
    pub occasion: i64,
}

impl Command for SessionNotified {
    type Reply = ();
    const NAME: &'static str = "session_notified";

    fn declare(&self, keys: &mut RowKeys) {
        keys.sessions.insert(self.session);
        keys.session_keys.extend(self.key.map(|key| (self.session, key)));
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<(), Refusal> {
        let mut session = books.session(self.session)?;
        let Some(id) = self.key else {
            if session.warning_occasion() != self.occasion {
                return Ok(());
            }
            session.warned = session.warned.notified(self.level);
            return books.rows.sessions.put(session);
        };
        let stored = books.rows.session_keys.get(&(self.session, id))?.cloned();
        let mut key = stored.ok_or_else(|| Refusal::not_found(SessionKeys::NAME, &id))?;
        if key.warning_occasion() != self.occasion {
            return Ok(());
        }
        key.warned = key.warned.notified(self.level);
        books.rows.session_keys.put(key)
    }
}
