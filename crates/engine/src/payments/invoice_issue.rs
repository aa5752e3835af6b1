//! Records an invoice that the wallet has made.

use super::owner::{OwnerIssue, PaymentOwner, PaymentStep};
use crate::books::rows::{Invoices, RowKind};
use crate::books::{Books, Command, Refusal, RowKeys};
use crate::records::{IdempotencyId, StoredResponse};
use std::sync::Arc;
use tithe_lightning::Invoice;

/// Records an invoice that the wallet has made, lets its owner take the next step, and stores the response to the request that
/// asked for it.
#[derive(Debug, Clone)]
pub struct InvoiceIssue {
    /// The owner of the invoice.
    pub owner: Arc<dyn PaymentOwner>,
    /// The invoice.
    pub invoice: Invoice,
    /// The idempotency key of the request that asked for the invoice, and the response to store for it.
    pub finish: Option<(IdempotencyId, StoredResponse)>,
}

/// What [`InvoiceIssue`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issued {
    /// The invoice was issued.
    Now,
    /// The owner has another invoice in its place; nothing has changed.
    AnotherExists,
}

impl Command for InvoiceIssue {
    type Reply = Issued;
    const NAME: &'static str = "invoice_issue";

    fn declare(&self, keys: &mut RowKeys) {
        keys.invoices.insert(self.invoice.payment_hash);
        keys.idempotency_keys.extend(self.finish.iter().map(|(id, _)| id.clone()));
        self.owner.declare(PaymentStep::Issue, keys);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Issued, Refusal> {
        let Self { owner, invoice, finish } = self;
        owner.verify(books)?;
        if invoice.owner != owner.id() {
            return Err(Refusal::OtherOwner(invoice.payment_hash));
        }
        if books.rows.invoices.contains(&invoice.payment_hash)? {
            return Err(Refusal::exists(Invoices::NAME, &invoice.payment_hash));
        }
        if owner.invoice_issued(books, invoice)? == OwnerIssue::HasAnother {
            return Ok(Issued::AnotherExists);
        }
        books.rows.invoices.put(invoice.clone())?;
        if let Some((key, response)) = finish {
            books.key_finish(key, response)?;
        }
        Ok(Issued::Now)
    }
}
