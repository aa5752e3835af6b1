//! Begins a keyed request.

use crate::books::{Books, Command, Refusal, RowKeys};
use crate::identities::RequestSignature;
use crate::records::{IdempotencyRequest, StoredResponse};
use uuid::Uuid;

/// Begins a keyed request that has no command of its own.
#[derive(Debug, Clone)]
pub struct IdempotencyBegin {
    /// The request.
    pub request: IdempotencyRequest,
    /// Its signature.
    pub signature: RequestSignature,
}

/// How a keyed request has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyBegun {
    /// The key is new.
    New,
    /// An earlier request with this key was abandoned; the caller continues it.
    Resumed {
        /// What the earlier request has made.
        subject: Option<Uuid>,
    },
    /// The request was answered before; nothing has changed.
    Replayed(StoredResponse),
}

impl Command for IdempotencyBegin {
    type Reply = KeyBegun;
    const NAME: &'static str = "idempotency_begin";

    fn declare(&self, keys: &mut RowKeys) {
        keys.idempotency_keys.insert(self.request.id.clone());
        self.signature.declare(keys);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<KeyBegun, Refusal> {
        let begun = books.key_begin(&self.request, None, None)?;
        match &begun {
            KeyBegun::New => self.signature.consume(books)?,
            KeyBegun::Resumed { .. } => self.signature.consume_again(books)?,
            KeyBegun::Replayed(_) => {}
        }
        Ok(begun)
    }
}
