//! Expires an unpaid invoice.

use super::owner::{PaymentOwner, PaymentStep};
use crate::books::{Books, Command, Refusal, RowKeys};
use std::sync::Arc;
use tithe_lightning::PaymentHash;

/// Expires an unpaid invoice, and lets its owner take the next step. A payment that arrives later is still credited.
#[derive(Debug, Clone)]
pub struct InvoiceExpire {
    /// The owner of the invoice.
    pub owner: Arc<dyn PaymentOwner>,
    /// The payment hash of the invoice.
    pub invoice: PaymentHash,
}

/// What [`InvoiceExpire`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvoiceExpired {
    /// The invoice has expired.
    Now,
    /// The invoice had expired before; nothing has changed.
    Before,
}

impl Command for InvoiceExpire {
    type Reply = InvoiceExpired;
    const NAME: &'static str = "invoice_expire";

    fn declare(&self, keys: &mut RowKeys) {
        keys.invoices.insert(self.invoice);
        self.owner.declare(PaymentStep::Expire, keys);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<InvoiceExpired, Refusal> {
        let invoice = books.invoice_of(self.invoice, self.owner.as_ref())?;
        let expired = invoice.expire(books.now())?;
        if expired == invoice {
            return Ok(InvoiceExpired::Before);
        }
        books.rows.invoices.put(expired)?;
        self.owner.invoice_expired(books, self.invoice)?;
        Ok(InvoiceExpired::Now)
    }
}
