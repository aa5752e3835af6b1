//! Jobs as owners of invoices.

use super::steps::{awaits, check_lease, reservation_id};
use crate::books::{Books, Refusal, RowKeys};
use crate::error::EngineError;
use crate::payments::{OwnerIssue, OwnerLookup, PaymentOwner, PaymentStep};
use crate::store::Store;
use async_trait::async_trait;
use std::sync::Arc;
use tithe_jobs::{JobEvent, JobId, JobState, Lease};
use tithe_ledger::{AccountId, TransferKind};
use tithe_lightning::{Invoice, InvoiceChange, OwnerId, PaymentHash, Purpose};
use tithe_trust::NostrPubkey;

/// A job as the owner of its two invoices.
#[derive(Debug, Clone)]
pub struct JobOwner {
    /// The job.
    pub job: JobId,
    /// The job's identity.
    pub identity: Option<NostrPubkey>,
    /// The lease under which a work invoice is issued.
    pub lease: Option<Lease>,
}

impl PaymentOwner for JobOwner {
    fn id(&self) -> OwnerId {
        OwnerId(self.job.0)
    }

    fn account(&self) -> AccountId {
        AccountId::Job(self.job.0)
    }

    fn payment_kind(&self, _purpose: Purpose) -> TransferKind {
        TransferKind::JobPayment
    }

    fn declare(&self, step: PaymentStep, keys: &mut RowKeys) {
        match step {
            PaymentStep::Issue => drop(keys.jobs.insert(self.job)),
            PaymentStep::Credit | PaymentStep::Expire => keys.declare_job(self.job, self.identity),
        }
    }

    fn verify(&self, books: &Books<'_>) -> Result<(), Refusal> {
        books.job_of(self.job, self.identity).map(drop)
    }

    fn invoice_issued(&self, books: &mut Books<'_>, invoice: &Invoice) -> Result<OwnerIssue, Refusal> {
        let job = books.job(self.job)?;
        let event = match invoice.purpose {
            Purpose::JobEval if job.evaluation_invoice().is_some() => return Ok(OwnerIssue::HasAnother),
            Purpose::JobEval => JobEvent::EvalInvoiced { invoice: invoice.payment_hash },
            Purpose::JobWork => {
                check_lease(&job, self.lease.as_ref())?;
                JobEvent::WorkInvoiced { invoice: invoice.payment_hash }
            }
            Purpose::SessionDeposit
            | Purpose::SessionTopUp
            | Purpose::SessionTopUpOffer
            | Purpose::Bootstrap
            | Purpose::Custom(_) => {
                return Err(Refusal::OtherOwner(invoice.payment_hash));
            }
        };
        books.job_advance(&job, event)?;
        Ok(OwnerIssue::Taken)
    }

    fn payment_credited(
        &self,
        books: &mut Books<'_>,
        invoice: &Invoice,
        arrival: InvoiceChange,
    ) -> Result<(), Refusal> {
        let job = books.job(self.job)?;
        let occasion = format!("payment:{}", invoice.payment_hash);
        if arrival == InvoiceChange::PaidLate || !awaits(&job, invoice.payment_hash) {
            let ended = job.state.name().is_terminal();
            return if ended { books.job_refund(job, &occasion) } else { Ok(()) };
        }
        let event = match (arrival, invoice.purpose) {
            // The job ends, and what was paid is refunded.
            (InvoiceChange::PaidShort | InvoiceChange::PaidLate, _) => JobEvent::Expired,
            (InvoiceChange::Paid, Purpose::JobEval) => JobEvent::EvalPaid,
            (InvoiceChange::Paid, Purpose::JobWork) => JobEvent::WorkPaid,
            (
                InvoiceChange::Paid,
                Purpose::SessionDeposit
                | Purpose::SessionTopUp
                | Purpose::SessionTopUpOffer
                | Purpose::Bootstrap
                | Purpose::Custom(_),
            ) => {
                return Err(Refusal::OtherOwner(invoice.payment_hash));
            }
        };
        let job = books.job_step(&job, event, &occasion)?;
        if matches!(job.state, JobState::Executing { .. })
            && job.identity.is_some()
            && let Some(offer) = books.live_reservation(reservation_id(job.id))?
        {
            books.reservation_activate(&offer)?;
        }
        Ok(())
    }

    fn invoice_expired(&self, books: &mut Books<'_>, invoice: PaymentHash) -> Result<(), Refusal> {
        let job = books.job(self.job)?;
        if awaits(&job, invoice) {
            books.job_step(&job, JobEvent::Expired, "end")?;
        }
        Ok(())
    }
}

/// Finds the jobs that own invoices.
pub struct JobOwners {
    store: Arc<dyn Store>,
}

impl JobOwners {
    /// The jobs in this store.
    #[must_use]
    pub const fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl OwnerLookup for JobOwners {
    fn purposes(&self) -> &'static [Purpose] {
        &[Purpose::JobEval, Purpose::JobWork]
    }

    async fn owner(&self, id: OwnerId) -> Result<Option<Arc<dyn PaymentOwner>>, EngineError> {
        let job = self.store.job(JobId(id.0)).await?;
        // A job's identity never changes.
        Ok(job.map(|job| -> Arc<dyn PaymentOwner> {
            Arc::new(JobOwner { job: job.id, identity: job.identity, lease: None })
        }))
    }
}
