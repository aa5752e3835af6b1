//! Gives a failed keyed request free for a retry.

use super::keys::KeyChange;
use crate::books::{Books, Command, Refusal, RowKeys};
use crate::records::IdempotencyId;

/// Ends the lease of a keyed request that failed in a way that a retry may mend. Returns whether there was such a request.
#[derive(Debug, Clone)]
pub struct IdempotencyRelease {
    /// The key.
    pub id: IdempotencyId,
}

impl Command for IdempotencyRelease {
    type Reply = bool;
    const NAME: &'static str = "idempotency_release";

    fn declare(&self, keys: &mut RowKeys) {
        keys.idempotency_keys.insert(self.id.clone());
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<bool, Refusal> {
        Ok(books.key_release(&self.id)? == KeyChange::Changed)
    }
}
