//! Looking invoices up at the wallet.

use super::invoice_expire::InvoiceExpire;
use super::service::Payments;
use crate::books::Refusal;
use crate::committer::CommitError;
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::log;
use std::sync::Arc;
use std::time::Duration;
use tithe_lightning::{
    Invoice, InvoiceError, InvoiceState, InvoiceStatus, PaymentHash, Preimage, TestPayer, TestPaymentError,
};
use tracing::{Instrument, debug, info, warn};

/// What looking an invoice up has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup {
    /// Nothing new.
    Unchanged,
    /// The invoice has been credited or has expired, because of this lookup or before it: what the caller has read is
    /// outdated.
    Changed,
}

impl Payments {
    /// One of our invoices. An unpaid one is looked up at the wallet first, at most once a second.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Busy`].
    pub async fn invoice(self: &Arc<Self>, hash: PaymentHash) -> Result<Invoice, EngineError> {
        let invoice = self.stored(hash).await?;
        if self.check_on_read(&invoice).await { self.stored(hash).await } else { Ok(invoice) }
    }

    /// Pays one of our invoices with play money.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::TestPayment`].
    pub async fn pay_for_test(
        &self,
        payer: &dyn TestPayer,
        hash: PaymentHash,
    ) -> Result<Preimage, EngineError> {
        let invoice = self.stored(hash).await?;
        let request = invoice.payment_request.parse().map_err(|failure| {
            warn!(payment_hash = %hash, error = chain(&failure), "the stored payment request is unreadable");
            EngineError::Internal
        })?;
        let paid = payer.pay(&request).await;
        if matches!(paid, Ok(_) | Err(TestPaymentError::Held(_))) {
            // Polling would find the payment too, but this way the next read is sure to see it.
            let _polled_later = self.check(&invoice).await;
        }
        paid.map_err(EngineError::TestPayment)
    }

    /// Looks an unpaid invoice up for a reader; returns whether anything has changed. A wallet that does not answer is no
    /// reason to refuse the reader, nor to let them wait: the look-up goes on without them.
    pub(crate) async fn check_on_read(self: &Arc<Self>, invoice: &Invoice) -> bool {
        // An expired one may have been paid at the last moment.
        let may_be_paid = match invoice.state {
            InvoiceState::Pending => true,
            InvoiceState::Expired => invoice.expires_at >= self.core.now() - self.late_until(),
            InvoiceState::Paid { .. } => false,
        };
        may_be_paid && self.check_in_background(invoice).await
    }

    /// Looks an invoice up whose preimage somebody has shown, however long ago it has expired.
    pub(crate) async fn check_proven(self: &Arc<Self>, hash: PaymentHash) -> Result<(), EngineError> {
        let invoice = self.stored(hash).await?;
        if !matches!(invoice.state, InvoiceState::Paid { .. }) {
            self.check_in_background(&invoice).await;
        }
        Ok(())
    }

    /// Looks an invoice up, at most once a second; returns whether anything has changed while the caller waited.
    async fn check_in_background(self: &Arc<Self>, invoice: &Invoice) -> bool {
        let hash = invoice.payment_hash;
        if !self.recently_checked.is_due(hash, self.core.now()) {
            return false;
        }
        let Ok(permit) = Arc::clone(&self.read_checks).try_acquire_owned() else { return false };
        let (payments, invoice) = (Arc::clone(self), invoice.clone());
        let checking = tokio::spawn(async move {
            let checked = payments.check(&invoice).await;
            drop(permit);
            checked
        });
        match tokio::time::timeout(self.core.settings.read_patience, checking).await {
            Ok(Ok(Ok(lookup))) => lookup == Lookup::Changed,
            Ok(Ok(Err(failure))) => {
                warn!(payment_hash = %hash, error = chain(&failure), "the invoice could not be looked up for a reader");
                false
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Looks an invoice up at the wallet, and credits or expires it.
    pub(super) async fn check(&self, invoice: &Invoice) -> Result<Lookup, EngineError> {
        let span = log::Owner::of_invoice(invoice.purpose, invoice.owner).span();
        self.check_at_wallet(invoice).instrument(span).await
    }

    async fn check_at_wallet(&self, invoice: &Invoice) -> Result<Lookup, EngineError> {
        let hash = invoice.payment_hash;
        let status = self.status_at_wallet(hash).await?;
        let now = self.core.now();
        let expired_for = now.since(invoice.expires_at);
        let in_flight_patience = self.core.settings.late_payment_window;
        let is_over = match status {
            Some(InvoiceStatus::Settled(payment)) => {
                self.credit_invoice(invoice, payment).await?;
                return Ok(Lookup::Changed);
            }
            Some(InvoiceStatus::Expired) => now >= invoice.expires_at,
            Some(InvoiceStatus::Held(payment)) => return self.note_held(invoice, payment).await,
            // What is in flight for a hold invoice is given back when it arrives. The wallet takes payments for longer.
            Some(InvoiceStatus::Pending) if self.is_hold_invoice(invoice) => now >= invoice.expires_at,
            // A payment may be in flight.
            Some(InvoiceStatus::Pending) => expired_for >= in_flight_patience,
            // The wallet made it, so this is another wallet or an old backup. Whether the invoice was paid is unknown.
            None => {
                warn!(payment_hash = %hash, "the wallet does not know one of our invoices");
                expired_for >= in_flight_patience
            }
        };
        if !is_over || invoice.state != InvoiceState::Pending {
            return Ok(Lookup::Unchanged);
        }
        let owner = self.owner_of(invoice).await?;
        match self.core.committer.commit(InvoiceExpire { owner, invoice: hash }).await {
            Ok(_) => info!(payment_hash = %hash, purpose = %invoice.purpose, "invoice expired unpaid"),
            Err(CommitError::Refused(Refusal::Invoice(InvoiceError::AlreadyPaid(_)))) => {
                debug!(payment_hash = %hash, "the invoice was paid just before it was to expire");
            }
            Err(failure) => return Err(failure.into()),
        }
        Ok(Lookup::Changed)
    }

    /// What the wallet's record says of an invoice.
    pub(super) async fn status_at_wallet(
        &self,
        hash: PaymentHash,
    ) -> Result<Option<InvoiceStatus>, EngineError> {
        let status = self.core.ports.wallet.invoice_status(hash);
        match tokio::time::timeout(self.core.settings.wallet_timeout, status).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(failure)) => {
                debug!(payment_hash = %hash, error = chain(&failure), "the wallet could not look the invoice up");
                Err(EngineError::NoWallet)
            }
            Err(_elapsed) => {
                debug!(payment_hash = %hash, "the wallet does not answer");
                Err(EngineError::NoWallet)
            }
        }
    }

    /// How long after its expiry an invoice is looked up: as long as payments are looked for, after as long as one may be in flight.
    pub(super) fn late_until(&self) -> Duration {
        self.core.settings.late_payment_window * 2
    }
}
