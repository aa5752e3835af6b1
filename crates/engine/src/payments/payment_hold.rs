//! Records that a payment is held.

use super::owner::{PaymentHeld, PaymentOwner, PaymentStep};
use crate::books::{Books, Command, Refusal, RowKeys};
use std::sync::Arc;
use tithe_lightning::{HeldPayment, InvoiceState};

/// Lets the owner of a hold invoice decide about a payment that is held for it. No money moves: nobody has received any.
#[derive(Debug, Clone)]
pub struct PaymentHold {
    /// The owner of the invoice.
    pub owner: Arc<dyn PaymentOwner>,
    /// The payment.
    pub payment: HeldPayment,
}

impl Command for PaymentHold {
    type Reply = PaymentHeld;
    const NAME: &'static str = "payment_hold";

    fn declare(&self, keys: &mut RowKeys) {
        keys.invoices.insert(self.payment.payment_hash);
        self.owner.declare(PaymentStep::Hold, keys);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<PaymentHeld, Refusal> {
        let invoice = books.invoice_of(self.payment.payment_hash, self.owner.as_ref())?;
        if matches!(invoice.state, InvoiceState::Paid { .. }) {
            return Ok(PaymentHeld::Known);
        }
        self.owner.payment_held(books, &invoice, &self.payment)
    }
}
