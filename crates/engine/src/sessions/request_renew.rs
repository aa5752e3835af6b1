//! Keeps a request of a session its own.

use super::steps::account_of;
use crate::books::rows::{RowKind, SessionRequests};
use crate::books::{Books, Command, Refusal, RowKeys};
use crate::records::IdempotencyId;
use std::time::Duration;
use tithe_ledger::HoldId;
use tithe_sessions::{RequestId, SessionId};

/// Extends the lease of a request that runs: of its hold, and of its idempotency key.
#[derive(Debug, Clone)]
pub struct SessionRequestRenew {
    /// The request.
    pub request: RequestId,
    /// The session.
    pub session: SessionId,
    /// How long from now the hold lives.
    pub lease: Duration,
    /// The idempotency key of the request, and how long from now it stays in use.
    pub key: Option<(IdempotencyId, Duration)>,
}

impl Command for SessionRequestRenew {
    type Reply = ();
    const NAME: &'static str = "session_request_renew";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_hold(HoldId(self.request.0), account_of(self.session));
        keys.idempotency_keys.extend(self.key.iter().map(|(id, _)| id.clone()));
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<(), Refusal> {
        let now = books.now();
        if let Some((id, lease)) = &self.key {
            if !books.key_is_of(id, self.request.0)? {
                return Err(Refusal::LeaseLost {
                    kind: SessionRequests::NAME,
                    key: self.request.to_string(),
                });
            }
            books.key_hold(id, self.request.0, now + *lease)?;
        }
        let renewed = books.hold(HoldId(self.request.0))?.renew(now, self.lease)?;
        books.rows.holds.put(renewed)
    }
}
