//! What invoices belong to.

use crate::books::{Books, Refusal, RowKeys};
use crate::error::EngineError;
use async_trait::async_trait;
use std::fmt::Debug;
use std::sync::Arc;
use tithe_ledger::{AccountId, TransferKind};
use tithe_lightning::{HeldPayment, Invoice, InvoiceChange, OwnerId, PaymentHash, Purpose};

/// A step of an invoice that its owner takes part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentStep {
    /// The invoice is issued.
    Issue,
    /// A payment is held.
    Hold,
    /// A payment is credited.
    Credit,
    /// The invoice expires unpaid.
    Expire,
}

/// What the owner says to a new invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerIssue {
    /// The owner has taken the invoice.
    Taken,
    /// The owner has another invoice in its place, which stays.
    HasAnother,
}

/// What the owner says to a payment that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentHeld {
    /// The owner has taken its next step.
    Noted,
    /// The owner knows of it, or the payment is credited; nothing has changed.
    Known,
    /// Nobody settles the payment any more: it is to be given back.
    Unwanted,
}

/// What an invoice belongs to, such as a job: where the money goes, and what happens next.
///
/// The methods with [`Books`] are parts of the decision of a command; what they read they must have declared.
pub trait PaymentOwner: Debug + Send + Sync + 'static {
    /// The owner's id.
    fn id(&self) -> OwnerId;

    /// The account that payments are credited to.
    fn account(&self) -> AccountId;

    /// The kind of the transfers that credit payments of this purpose.
    fn payment_kind(&self, purpose: Purpose) -> TransferKind;

    /// Declares the owner's rows. [`PaymentOwner::account`] is declared already where a payment is credited.
    fn declare(&self, step: PaymentStep, keys: &mut RowKeys);

    /// Checks that the owner exists and is what this value says.
    ///
    /// # Errors
    /// [`Refusal`].
    fn verify(&self, books: &Books<'_>) -> Result<(), Refusal>;

    /// An invoice is about to be issued.
    ///
    /// # Errors
    /// [`Refusal`]: the invoice is not issued.
    fn invoice_issued(&self, books: &mut Books<'_>, invoice: &Invoice) -> Result<OwnerIssue, Refusal>;

    /// A payment for a hold invoice is held, and was not before, or is still. An owner that never has a hold invoice need not say
    /// anything: a payment that nobody expects is given back.
    ///
    /// # Errors
    /// [`Refusal`]: the payment stays held, and is reported again.
    fn payment_held(
        &self,
        _books: &mut Books<'_>,
        _invoice: &Invoice,
        _payment: &HeldPayment,
    ) -> Result<PaymentHeld, Refusal> {
        Ok(PaymentHeld::Unwanted)
    }

    /// A payment has been credited to [`PaymentOwner::account`].
    ///
    /// # Errors
    /// [`Refusal`]: the payment is not credited.
    fn payment_credited(
        &self,
        books: &mut Books<'_>,
        invoice: &Invoice,
        arrival: InvoiceChange,
    ) -> Result<(), Refusal>;

    /// An invoice has expired unpaid.
    ///
    /// # Errors
    /// [`Refusal`]: the invoice does not expire.
    fn invoice_expired(&self, books: &mut Books<'_>, invoice: PaymentHash) -> Result<(), Refusal>;
}

/// Finds the owners of invoices of some purposes.
#[async_trait]
pub trait OwnerLookup: Send + Sync {
    /// The purposes whose invoices belong to these owners.
    fn purposes(&self) -> &'static [Purpose];

    /// The owner of this id as it is stored, or `None`.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    async fn owner(&self, id: OwnerId) -> Result<Option<Arc<dyn PaymentOwner>>, EngineError>;

    /// A payment of the owner was noted as held on this server.
    fn held(&self, _id: OwnerId) {}

    /// A payment of the owner was credited on this server.
    fn credited(&self, _id: OwnerId) {}
}
