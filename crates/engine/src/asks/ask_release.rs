//! Gives back what was set aside for a plain request that has no answer.

use super::payer::AskPayer;
use crate::books::{Books, Command, Refusal, RowKeys};
use crate::records::IdempotencyId;
use uuid::Uuid;

/// Gives back what was set aside for a plain request, and lets its idempotency key be used again at once. If nothing is set aside any
/// more, nothing happens; a key under which another request has begun since stays as it is.
#[derive(Debug, Clone)]
pub struct AskRelease {
    /// The request.
    pub id: Uuid,
    /// Who would have paid.
    pub payer: AskPayer,
    /// The idempotency key of the request.
    pub key: Option<IdempotencyId>,
}

impl Command for AskRelease {
    type Reply = ();
    const NAME: &'static str = "ask_release";

    fn declare(&self, keys: &mut RowKeys) {
        self.payer.declare(self.id, keys);
        keys.idempotency_keys.extend(self.key.clone());
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<(), Refusal> {
        self.payer.release(self.id, books)?;
        if let Some(key) = &self.key
            && books.key_is_of(key, self.id)?
        {
            books.key_release(key)?;
        }
        Ok(())
    }
}
