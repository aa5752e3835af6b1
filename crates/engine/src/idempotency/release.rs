//! Gives a failed keyed request free for a retry.

use super::keys::KeyChange;
use crate::books::{Books, Command, Refusal, RowKeys};
use crate::records::IdempotencyId;
use uuid::Uuid;

/// Ends the lease of a keyed request that failed in a way that a retry may mend. Returns whether there was such a request.
#[derive(Debug, Clone)]
pub struct IdempotencyRelease {
    /// The key.
    pub id: IdempotencyId,
    /// What the request has made: a key that another request has begun since stays as it is. `None`: whatever it has made.
    pub subject: Option<Uuid>,
}

impl Command for IdempotencyRelease {
    type Reply = bool;
    const NAME: &'static str = "idempotency_release";

    fn declare(&self, keys: &mut RowKeys) {
        keys.idempotency_keys.insert(self.id.clone());
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<bool, Refusal> {
        if let Some(subject) = self.subject
            && !books.key_is_of(&self.id, subject)?
        {
            return Ok(false);
        }
        Ok(books.key_release(&self.id)? == KeyChange::Changed)
    }
}
