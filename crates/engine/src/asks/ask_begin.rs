//! Begins a plain request.

use super::payer::NewAskPayer;
use crate::books::{Books, Command, Refusal, RowKeys};
use crate::idempotency::KeyBegun;
use crate::identities::RequestSignature;
use crate::records::{IdempotencyRequest, StoredResponse};
use std::time::Duration;
use tithe_free_tier::{Reservation, ReservationId};
use tithe_ledger::credits::{Credit, CreditId};
use uuid::Uuid;

/// Begins a plain request: its payer sets something aside, its signature is consumed, and its idempotency key begins.
#[derive(Debug, Clone)]
pub struct AskBegin {
    /// The id of the request. It is also that of the credit or of the reservation.
    pub id: Uuid,
    /// Who is to pay.
    pub payer: NewAskPayer,
    /// How long what is set aside lives unless it is renewed.
    pub lease: Duration,
    /// The client's idempotency key, if it gave one.
    pub idempotency: Option<IdempotencyRequest>,
    /// The signature of the request.
    pub signature: RequestSignature,
}

/// How [`AskBegin`] ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskBegun {
    /// An install's plan includes the request.
    Credit(Box<Credit>),
    /// The pool pays for the request.
    Grant(Box<Reservation>),
    /// The request was answered before; nothing has changed.
    Replayed(StoredResponse),
}

impl Command for AskBegin {
    type Reply = AskBegun;
    const NAME: &'static str = "ask_begin";

    fn declare(&self, keys: &mut RowKeys) {
        match &self.payer {
            NewAskPayer::Install(request) => request.declare(CreditId(self.id), keys),
            NewAskPayer::Pool { .. } => self.payer.running().declare(self.id, keys),
        }
        keys.idempotency_keys.extend(self.idempotency.iter().map(|request| request.id.clone()));
        self.signature.declare(keys);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<AskBegun, Refusal> {
        let now = books.now();
        let mut resumes = false;
        if let Some(keyed) = &self.idempotency {
            match books.key_begin(keyed, Some(self.id), None)? {
                KeyBegun::New => {}
                // What an abandoned request has set aside is given back by its lease. Should it go on after all, it finds the key
                // taken, and ends without taking anything.
                KeyBegun::Resumed { .. } => resumes = true,
                KeyBegun::Replayed(response) => return Ok(AskBegun::Replayed(response)),
            }
            // It is renewed with what is set aside.
            books.key_hold(&keyed.id, self.id, now + self.lease)?;
        }
        if resumes {
            self.signature.consume_again(books)?;
        } else {
            self.signature.consume(books)?;
        }
        match &self.payer {
            NewAskPayer::Install(request) => {
                let credit = books.credit_reserve(CreditId(self.id), request, self.lease)?;
                Ok(AskBegun::Credit(Box::new(credit)))
            }
            NewAskPayer::Pool { identity, amount } => {
                let reservation =
                    books.grant_reserve(ReservationId(self.id), *identity, *amount, self.lease)?;
                Ok(AskBegun::Grant(Box::new(reservation)))
            }
        }
    }
}
