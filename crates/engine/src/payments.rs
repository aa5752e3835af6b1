//! Learning of payments: from the wallet's events, from polling, and when a customer asks. Whichever comes first moves the
//! job; the others find it done.

use crate::commands::{Answer, Command, Refusal};
use crate::committer::{CommitError, chain};
use crate::{Engine, EngineError};
use futures_util::StreamExt;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_jobs::JobId;
use tithe_lightning::{
    Invoice, InvoiceError, InvoiceState, InvoiceStatus, PaymentHash, Preimage, Settlement, TestPayer,
};
use tithe_trust::NostrPubkey;
use tracing::{debug, info, warn};

/// How many invoices one page of a poll has, and how many of them are looked up at once.
const POLL_PAGE: usize = 200;
const POLL_PARALLEL: usize = 8;

/// How long after it was looked up an invoice is not looked up again for a reader.
const READ_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// For how long an invoice that has expired is waited for when the wallet still calls it pending: a payment may be under
/// way, and it must not be told that it failed.
const IN_FLIGHT_PATIENCE: Duration = Duration::from_hours(24);

/// When invoices were last looked up for a reader, so that reading in a loop does not become a load on the wallet.
#[derive(Default)]
pub(crate) struct RecentlyChecked(Mutex<HashMap<PaymentHash, Timestamp>>);

impl RecentlyChecked {
    /// Whether it is time to look this invoice up again; if so, it counts as looked up now.
    fn is_due(&self, hash: PaymentHash, now: Timestamp) -> bool {
        let mut checked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.get(&hash).is_some_and(|at| now.since(*at) < READ_CHECK_INTERVAL && *at <= now) {
            return false;
        }
        if checked.len() > 10_000 {
            checked.retain(|_, at| now.since(*at) < READ_CHECK_INTERVAL);
        }
        checked.insert(hash, now);
        true
    }
}

/// Which invoices a poll looks up.
#[derive(Debug, Clone, Copy)]
enum Unpaid {
    /// Those that can be paid.
    Pending,
    /// Those that expired since then and were given up.
    Lapsed {
        /// When.
        since: Timestamp,
    },
}

/// What looking an invoice up has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    /// Nothing new.
    Same,
    /// It is credited or has lapsed, by this look or by somebody who was faster: what was read before is outdated.
    Moved,
}

impl Engine {
    /// Credits a payment that the wallet reports, once, whoever else reports it too.
    ///
    /// # Errors
    /// [`EngineError::NoSuchInvoice`] when it is for no invoice of ours.
    pub async fn payment_credit(&self, settlement: Settlement) -> Result<(), EngineError> {
        let hash = settlement.payment_hash;
        let invoice = self.ports.store.invoice(hash).await?.ok_or(EngineError::NoSuchInvoice(hash))?;
        self.invoice_credit(&invoice, settlement).await
    }

    /// The job that an invoice is for, and its identity, which never changes.
    async fn owner_of(&self, invoice: &Invoice) -> Result<(JobId, Option<NostrPubkey>), EngineError> {
        let id = JobId(invoice.owner.0);
        let job = self.ports.store.job(id).await?.ok_or(EngineError::NoSuchJob(id))?;
        Ok((id, job.identity))
    }

    async fn invoice_credit(&self, invoice: &Invoice, settlement: Settlement) -> Result<(), EngineError> {
        let amount = settlement.amount;
        let (job, identity) = self.owner_of(invoice).await?;
        let command = Command::PaymentCredit { job, identity, settlement };
        if self.committer.commit(command).await? != Answer::AlreadyDone {
            info!(payment = %invoice.payment_hash, purpose = invoice.purpose.name(), %amount, "a payment was credited");
        }
        Ok(())
    }

    /// An invoice of ours. An unpaid one is looked up at the wallet first, at most once a second.
    ///
    /// # Errors
    /// [`EngineError::NoSuchInvoice`], [`EngineError::Busy`].
    pub async fn invoice_view(&self, hash: PaymentHash) -> Result<Invoice, EngineError> {
        let missing = || EngineError::NoSuchInvoice(hash);
        let invoice = self.ports.store.invoice(hash).await?.ok_or_else(missing)?;
        if self.invoice_check_on_read(&invoice).await {
            return self.ports.store.invoice(hash).await?.ok_or_else(missing);
        }
        Ok(invoice)
    }

    /// Pays one of our invoices with play money.
    ///
    /// # Errors
    /// [`EngineError::NoSuchInvoice`], [`EngineError::TestPayment`].
    pub async fn invoice_pay_for_test(
        &self,
        payer: &dyn TestPayer,
        hash: PaymentHash,
    ) -> Result<Preimage, EngineError> {
        let invoice = self.ports.store.invoice(hash).await?.ok_or(EngineError::NoSuchInvoice(hash))?;
        let request = invoice.payment_request.parse().map_err(|_| EngineError::Internal)?;
        let preimage = payer.pay(&request).await.map_err(EngineError::TestPayment)?;
        // Not needed for the payment to be seen, but then the next read sees it for sure.
        let _polled_later = self.invoice_check(&invoice).await;
        Ok(preimage)
    }

    /// Looks an unpaid invoice up for a reader; says whether anything has changed. The reader is never refused because
    /// the wallet is.
    pub(crate) async fn invoice_check_on_read(&self, invoice: &Invoice) -> bool {
        // One that lapsed may have been paid at the last moment.
        let may_be_paid = match invoice.state {
            InvoiceState::Pending => true,
            InvoiceState::Expired => invoice.expires_at >= self.late_since(),
            InvoiceState::Paid { .. } => false,
        };
        if !may_be_paid || !self.recently_checked.is_due(invoice.payment_hash, self.now()) {
            return false;
        }
        match self.invoice_check(invoice).await {
            Ok(checked) => checked == Checked::Moved,
            Err(failure) => {
                debug!(payment = %invoice.payment_hash, %failure, "an invoice could not be looked up for a reader");
                false
            }
        }
    }

    /// Looks an invoice up at the wallet, credits it or gives it up.
    pub(crate) async fn invoice_check(&self, invoice: &Invoice) -> Result<Checked, EngineError> {
        let hash = invoice.payment_hash;
        let asked = self.ports.wallet.invoice_status(hash);
        let status = match tokio::time::timeout(self.settings.wallet_timeout, asked).await {
            Ok(Ok(status)) => status,
            Ok(Err(failure)) => {
                debug!(payment = %hash, failure = chain(&failure), "the wallet does not tell of an invoice");
                return Err(EngineError::NoWallet);
            }
            Err(_elapsed) => return Err(EngineError::NoWallet),
        };
        let expired_for = self.now().since(invoice.expires_at);
        let is_over = match status {
            Some(InvoiceStatus::Settled(settlement)) => {
                self.invoice_credit(invoice, settlement).await?;
                return Ok(Checked::Moved);
            }
            Some(InvoiceStatus::Expired) => self.now() >= invoice.expires_at,
            Some(InvoiceStatus::Pending) => expired_for >= IN_FLIGHT_PATIENCE,
            // It made it, so this is not what it should say: another wallet, or an old backup. Paid or not is not known.
            None => {
                warn!(payment = %hash, "the wallet does not know an invoice of ours");
                expired_for >= IN_FLIGHT_PATIENCE
            }
        };
        if !is_over || invoice.state != InvoiceState::Pending {
            return Ok(Checked::Same);
        }
        let (job, identity) = self.owner_of(invoice).await?;
        let lapse = Command::InvoiceLapse { job, identity, invoice: hash };
        match self.committer.commit(lapse).await {
            Ok(_) => info!(payment = %hash, purpose = invoice.purpose.name(), "an invoice lapsed unpaid"),
            Err(CommitError::Refused(Refusal::Invoice(InvoiceError::AlreadyPaid(_)))) => {
                debug!(payment = %hash, "an invoice was paid just before it was to lapse");
            }
            Err(failure) => return Err(failure.into()),
        }
        Ok(Checked::Moved)
    }

    /// Listens to the wallet until its stream ends, crediting what it reports.
    pub(crate) async fn payments_listen(&self) {
        let mut settlements = match self.ports.wallet.settlements().await {
            Ok(stream) => stream,
            Err(failure) => {
                warn!(
                    failure = chain(&failure),
                    "the wallet's payment events cannot be had; payments are polled"
                );
                return;
            }
        };
        while let Some(settlement) = settlements.next().await {
            let hash = settlement.payment_hash;
            match self.payment_credit(settlement).await {
                Ok(()) => {}
                // Wallets also tell of payments that have nothing to do with us.
                Err(EngineError::NoSuchInvoice(_)) => {
                    debug!(payment = %hash, "a payment for no invoice of ours");
                }
                Err(failure) => warn!(payment = %hash, %failure, "a payment will be credited by polling"),
            }
        }
    }

    /// Looks all unpaid invoices up once; with `late`, those too that lapsed recently.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer. What the wallet does not answer is left for the next time.
    pub async fn payments_poll(&self, late: bool) -> Result<(), EngineError> {
        self.invoices_check_all(Unpaid::Pending).await?;
        if late { self.payments_poll_late().await } else { Ok(()) }
    }

    /// Looks invoices up that lapsed recently.
    pub(crate) async fn payments_poll_late(&self) -> Result<(), EngineError> {
        self.invoices_check_all(Unpaid::Lapsed { since: self.late_since() }).await
    }

    /// Invoices that expired before this are no longer looked for. One may have been given up only after the patience for
    /// a payment under way, and is looked for that much longer.
    fn late_since(&self) -> Timestamp {
        self.now() - self.settings.late_payment_window - IN_FLIGHT_PATIENCE
    }

    /// Looks up every invoice of all pages, until the wallet no longer answers.
    async fn invoices_check_all(&self, which: Unpaid) -> Result<(), EngineError> {
        let store = &self.ports.store;
        let mut after = None;
        loop {
            let invoices = match which {
                Unpaid::Pending => store.invoices_pending(after, POLL_PAGE).await?,
                Unpaid::Lapsed { since } => store.invoices_lapsed(since, after, POLL_PAGE).await?,
            };
            let Some(last) = invoices.last() else { return Ok(()) };
            after = Some(last.payment_hash);
            let answered = AtomicBool::new(false);
            futures_util::stream::iter(&invoices)
                .for_each_concurrent(POLL_PARALLEL, |invoice| async {
                    if self.invoice_check(invoice).await.is_ok() {
                        answered.store(true, Ordering::Relaxed);
                    }
                })
                .await;
            if !answered.load(Ordering::Relaxed) {
                warn!("the wallet answers nothing; unpaid invoices are looked up later");
                return Ok(());
            }
        }
    }
}
