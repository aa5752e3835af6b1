//! Ends a keyed request with its response.

use super::keys::KeyChange;
use crate::books::{Books, Command, Refusal, RowKeys};
use crate::records::{IdempotencyId, StoredResponse};

/// Stores the response to a keyed request. Returns whether it was stored: a response that was stored before stays.
#[derive(Debug, Clone)]
pub struct IdempotencyFinish {
    /// The key.
    pub id: IdempotencyId,
    /// The response.
    pub response: StoredResponse,
}

impl Command for IdempotencyFinish {
    type Reply = bool;
    const NAME: &'static str = "idempotency_finish";

    fn declare(&self, keys: &mut RowKeys) {
        keys.idempotency_keys.insert(self.id.clone());
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<bool, Refusal> {
        Ok(books.key_finish(&self.id, &self.response)? == KeyChange::Changed)
    }
}
