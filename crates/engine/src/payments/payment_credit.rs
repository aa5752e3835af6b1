//! Credits a payment that the wallet has received.

use super::owner::{PaymentOwner, PaymentStep};
use crate::books::{Books, Command, Posting, Refusal, RowKeys};
use std::sync::Arc;
use tithe_ledger::{AccountId, TransferKey, TransferKind};
use tithe_lightning::{InvoiceChange, InvoiceError, ReceivedPayment};

/// Credits a payment that the wallet has received, once, whoever reports it and however often (invariant I3), and lets the
/// owner of the invoice take its next step.
#[derive(Debug, Clone)]
pub struct PaymentCredit {
    /// The owner of the invoice.
    pub owner: Arc<dyn PaymentOwner>,
    /// The payment.
    pub payment: ReceivedPayment,
}

/// What [`PaymentCredit`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credited {
    /// The payment was credited.
    Now(InvoiceChange),
    /// The payment was credited before; nothing has changed.
    Before,
}

impl Command for PaymentCredit {
    type Reply = Credited;
    const NAME: &'static str = "payment_credit";

    fn declare(&self, keys: &mut RowKeys) {
        keys.invoices.insert(self.payment.payment_hash);
        keys.declare_account(self.owner.account());
        self.owner.declare(PaymentStep::Credit, keys);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Credited, Refusal> {
        let Self { owner, payment } = self;
        let hash = payment.payment_hash;
        let invoice = books.invoice_of(hash, owner.as_ref())?;
        let (paid, arrival) = match invoice.receive(payment) {
            Err(InvoiceError::AlreadyPaid(_)) => return Ok(Credited::Before),
            received => received?,
        };
        books.post(Posting {
            key: TransferKey::new(format!("payment:{hash}")),
            debit: AccountId::Wallet,
            credit: owner.account(),
            amount: payment.amount,
            kind: owner.payment_kind(invoice.purpose),
            reference: owner.id().0,
        })?;
        if !payment.liquidity_fee.is_zero() {
            books.post(Posting {
                key: TransferKey::new(format!("payment:{hash}:liquidity_fee")),
                debit: AccountId::RoutingFees,
                credit: AccountId::Wallet,
                amount: payment.liquidity_fee,
                kind: TransferKind::LiquidityFee,
                reference: owner.id().0,
            })?;
        }
        books.rows.invoices.put(paid.clone())?;
        owner.payment_credited(books, &paid, arrival)?;
        Ok(Credited::Now(arrival))
    }
}
