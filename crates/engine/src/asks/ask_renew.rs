//! Keeps a plain request its own.

use super::payer::AskPayer;
use crate::books::rows::{IdempotencyKeys, RowKind};
use crate::books::{Books, Command, Refusal, RowKeys};
use crate::records::IdempotencyId;
use std::time::Duration;
use tithe_free_tier::ReservationId;
use tithe_ledger::credits::CreditId;
use uuid::Uuid;

/// Extends the lease of a request that runs: of what is set aside for it, and of its idempotency key.
#[derive(Debug, Clone)]
pub struct AskRenew {
    /// The request.
    pub id: Uuid,
    /// Who pays for it.
    pub payer: AskPayer,
    /// How long from now what is set aside lives, and the key stays in use.
    pub lease: Duration,
    /// The idempotency key of the request.
    pub key: Option<IdempotencyId>,
}

impl Command for AskRenew {
    type Reply = ();
    const NAME: &'static str = "ask_renew";

    fn declare(&self, keys: &mut RowKeys) {
        self.payer.declare(self.id, keys);
        keys.idempotency_keys.extend(self.key.clone());
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<(), Refusal> {
        let now = books.now();
        if let Some(id) = &self.key {
            if !books.key_is_of(id, self.id)? {
                return Err(Refusal::LeaseLost { kind: IdempotencyKeys::NAME, key: self.id.to_string() });
            }
            books.key_hold(id, self.id, now + self.lease)?;
        }
        match self.payer {
            AskPayer::Install(_) => books.credit_renew(CreditId(self.id), self.lease),
            AskPayer::Pool(identity) => {
                let identity = books.identity(identity)?;
                let reservation = books.reservation(ReservationId(self.id))?;
                let renewed = reservation.renew(&identity, now, self.lease)?;
                books.rows.reservations.put(renewed)
            }
        }
    }
}
