//! What the commands do that record a purchase.

use crate::books::{Books, Refusal, RowKeys};
use crate::idempotency::KeyBegun;
use crate::identities::RequestSignature;
use crate::records::IdempotencyRequest;
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// What the commands have in common that record a purchase.
pub(crate) struct NewPurchase<'a> {
    /// Its id.
    pub(crate) id: Uuid,
    /// The customer's identity.
    pub(crate) identity: Option<NostrPubkey>,
    /// The client's idempotency key, if it gave one.
    pub(crate) idempotency: Option<&'a IdempotencyRequest>,
    /// The signature of the request.
    pub(crate) signature: RequestSignature,
    /// What the key had made before, which was abandoned before it was shown to anybody: the key begins anew, once.
    pub(crate) instead_of: Option<Uuid>,
}

impl NewPurchase<'_> {
    /// Declares the rows that every purchase needs.
    pub(crate) fn declare(&self, keys: &mut RowKeys) {
        keys.identities.extend(self.identity);
        keys.idempotency_keys.extend(self.idempotency.iter().map(|request| request.id.clone()));
        self.signature.declare(keys);
    }

    /// Begins the key, consumes the signature, and makes the row of the identity. The purchase is to be recorded only if this
    /// returns [`KeyBegun::New`].
    pub(crate) fn begin(&self, books: &mut Books<'_>) -> Result<KeyBegun, Refusal> {
        if let Some(request) = self.idempotency {
            match books.key_begin(request, Some(self.id), self.instead_of)? {
                KeyBegun::New => {}
                resumed @ KeyBegun::Resumed { .. } => {
                    self.signature.consume_again(books)?;
                    return Ok(resumed);
                }
                replayed @ KeyBegun::Replayed(_) => return Ok(replayed),
            }
        }
        self.signature.consume(books)?;
        if let Some(pubkey) = self.identity
            && !books.rows.identities.contains(&pubkey)?
        {
            // The row of the purchase refers to a row of its identity.
            let identity = books.identity(pubkey)?;
            books.rows.identities.put(identity)?;
        }
        Ok(KeyBegun::New)
    }
}
