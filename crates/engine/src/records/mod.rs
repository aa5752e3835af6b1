//! What the engine itself keeps in the database, besides the domain's rows.

mod auth_nonce;
mod idempotency;
mod server;
mod texts;

pub use auth_nonce::{AuthNonce, AuthNonceId, AuthNonceKind};
pub(crate) use idempotency::Begin;
pub use idempotency::{
    IdempotencyId, IdempotencyRecord, IdempotencyRequest, IdempotencyState, KeyConflict, KeyOrigin,
    StoredResponse,
};
pub use server::ServerRecord;
pub use texts::{InvalidTextOwner, TextDeletion, TextOwner, TextsFound};
