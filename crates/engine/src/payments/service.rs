//! The use cases of payments.

use super::finished_polls::FinishedPolls;
use super::hold_keys::HoldKeys;
use super::owner::{OwnerLookup, PaymentOwner};
use super::payment_credit::{Credited, PaymentCredit};
use super::recently_checked::RecentlyChecked;
use crate::books::rows::{Invoices, RowKind};
use crate::core::Core;
use crate::error::EngineError;
use crate::log;
use crate::telemetry::{self, purpose_label, seconds_since};
use metrics::{counter, histogram};
use std::sync::{Arc, Mutex};
use tithe_clock::Timestamp;
use tithe_lightning::{Invoice, PaymentHash, Purpose, ReceivedPayment};
use tithe_money::Msats;
use tokio::sync::Semaphore;
use tracing::{error, info};

/// How many readers may make this server wait for the wallet at once. Others read what is stored.
const READ_CHECKS_MAX: usize = 64;

/// The use cases of payments.
pub struct Payments {
    pub(super) core: Arc<Core>,
    owners: Vec<Arc<dyn OwnerLookup>>,
    pub(super) hold_keys: HoldKeys,
    pub(super) recently_checked: RecentlyChecked,
    pub(super) polls: FinishedPolls,
    /// Until when the wallet is asked for no hold invoices, because it did not answer.
    pub(super) no_hold_invoices_until: Mutex<Option<Timestamp>>,
    /// The checks for readers that may wait for the wallet at once.
    pub(super) read_checks: Arc<Semaphore>,
}

impl Payments {
    /// The payments of these owners.
    pub(crate) fn new(core: Arc<Core>, owners: Vec<Arc<dyn OwnerLookup>>, hold_keys: HoldKeys) -> Self {
        let read_checks = Arc::new(Semaphore::new(READ_CHECKS_MAX));
        let (recently_checked, polls) = (RecentlyChecked::default(), FinishedPolls::default());
        let no_hold_invoices_until = Mutex::default();
        Self { core, owners, hold_keys, recently_checked, polls, no_hold_invoices_until, read_checks }
    }

    /// Credits a payment that the wallet reports, once, whoever else reports it too.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when the payment is for none of our invoices.
    pub async fn credit(&self, payment: ReceivedPayment) -> Result<(), EngineError> {
        let invoice = self.stored(payment.payment_hash).await?;
        self.credit_invoice(&invoice, payment).await
    }

    pub(super) async fn credit_invoice(
        &self,
        invoice: &Invoice,
        payment: ReceivedPayment,
    ) -> Result<(), EngineError> {
        let (amount, received_at) = (payment.amount, payment.received_at);
        let owner = self.owner_of(invoice).await?;
        if let Credited::Now(arrival) = self.core.committer.commit(PaymentCredit { owner, payment }).await? {
            let purpose = invoice.purpose;
            let about = log::Owner::of_invoice(purpose, invoice.owner);
            info!(
                job_id = about.job(),
                session_id = about.session(),
                bootstrap_id = about.bootstrap(),
                payment_hash = %invoice.payment_hash,
                %purpose,
                amount_msats = amount.get(),
                arrival = ?arrival,
                "payment credited"
            );
            measure_credited(&purpose, amount, seconds_since(received_at, self.core.now()));
            if let Some(lookup) = self.lookup_of(&purpose) {
                lookup.credited(invoice.owner);
            }
        }
        Ok(())
    }

    /// The invoice of this payment hash.
    pub(super) async fn stored(&self, hash: PaymentHash) -> Result<Invoice, EngineError> {
        let invoice = self.core.ports.store.invoice(hash).await?;
        invoice.ok_or_else(|| EngineError::not_found(Invoices::NAME, &hash))
    }

    /// What finds the owners of invoices of this purpose.
    pub(super) fn lookup_of(&self, purpose: &Purpose) -> Option<&Arc<dyn OwnerLookup>> {
        self.owners.iter().find(|lookup| lookup.purposes().contains(purpose))
    }

    /// The owner of an invoice.
    pub(super) async fn owner_of(&self, invoice: &Invoice) -> Result<Arc<dyn PaymentOwner>, EngineError> {
        let owner = match self.lookup_of(&invoice.purpose) {
            Some(lookup) => lookup.owner(invoice.owner).await?,
            None => None,
        };
        owner.ok_or_else(|| {
            let about = log::Owner::of_invoice(invoice.purpose, invoice.owner);
            error!(
                job_id = about.job(),
                session_id = about.session(),
                bootstrap_id = about.bootstrap(),
                payment_hash = %invoice.payment_hash,
                purpose = %invoice.purpose,
                "the owner of an invoice does not exist"
            );
            EngineError::Internal
        })
    }
}

/// Counts a payment that was credited, so many seconds after it had arrived.
fn measure_credited(purpose: &Purpose, amount: Msats, lag_seconds: f64) {
    let purpose = purpose_label(purpose);
    counter!(telemetry::PAYMENTS_CREDITED, "purpose" => purpose).increment(1);
    counter!(telemetry::PAYMENTS_CREDITED_SATS, "purpose" => purpose)
        .increment(amount.to_sats_rounding_down().get());
    histogram!(telemetry::SETTLEMENT_LAG).record(lag_seconds);
}
