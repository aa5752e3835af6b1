//! Jobs as owners of invoices.

use super::steps::{awaits, check_lease, reservation_id};
use crate::books::{Books, Refusal, RowKeys};
use crate::charging::{Absorb, Payer};
use crate::error::EngineError;
use crate::payments::{HeldWindow, OwnerIssue, OwnerLookup, PaymentHeld, PaymentOwner, PaymentStep};
use crate::store::Store;
use async_trait::async_trait;
use std::sync::Arc;
use tithe_jobs::{Completion, Job, JobEvent, JobId, JobState, Lease, WorkPayment};
use tithe_ledger::{AccountId, TransferKind};
use tithe_lightning::{HeldPayment, Invoice, InvoiceChange, OwnerId, PaymentHash, Purpose};
use tithe_trust::NostrPubkey;

/// The message of a job whose payment came too late, or was too little.
const UNWANTED: &str = "The payment came too late for the work, was too little, or could not be held long enough. It was given back.";

/// A job as the owner of its two invoices.
#[derive(Debug, Clone)]
pub struct JobOwner {
    /// The job.
    pub job: JobId,
    /// The job's identity.
    pub identity: Option<NostrPubkey>,
    /// The lease under which a work invoice is issued.
    pub lease: Option<Lease>,
    /// What the work invoice is: the one that is issued, or the one that the job has. The payment of a hold invoice is credited
    /// together with the charge for the work.
    pub work_payment: WorkPayment,
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
            PaymentStep::Hold | PaymentStep::Expire => keys.declare_job(self.job, self.identity),
            PaymentStep::Credit => {
                keys.declare_job(self.job, self.identity);
                if self.work_payment == WorkPayment::Held {
                    let absorb = Absorb::Reserved(reservation_id(self.job));
                    keys.declare_settlement(Payer::Deposit(self.account()), absorb, self.identity);
                }
            }
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
                match self.work_payment {
                    WorkPayment::Prepaid => JobEvent::WorkInvoiced { invoice: invoice.payment_hash },
                    WorkPayment::Held => JobEvent::HoldInvoiced { invoice: invoice.payment_hash },
                }
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

    fn payment_held(
        &self,
        books: &mut Books<'_>,
        invoice: &Invoice,
        payment: &HeldPayment,
    ) -> Result<PaymentHeld, Refusal> {
        let job = books.job(self.job)?;
        if !awaits(&job, invoice.payment_hash) {
            return Ok(if decides_on(&job, invoice.payment_hash) {
                PaymentHeld::Known
            } else {
                PaymentHeld::Unwanted
            });
        }
        let window = HeldWindow::of(payment, books.now());
        let is_wanted =
            payment.amount >= invoice.amount && books.now() < invoice.expires_at && window.is_long_enough();
        if is_wanted {
            let job = books.job_step(&job, JobEvent::WorkHeld { until: window.until() }, "end")?;
            activate_reservation(books, &job)?;
        } else {
            books.job_step(&job, JobEvent::WorkCancelled { message: UNWANTED.to_owned() }, "end")?;
        }
        Ok(PaymentHeld::Noted)
    }

    fn payment_credited(
        &self,
        books: &mut Books<'_>,
        invoice: &Invoice,
        arrival: InvoiceChange,
    ) -> Result<(), Refusal> {
        let job = books.job(self.job)?;
        let occasion = format!("payment:{}", invoice.payment_hash);
        if let Some(event) = credited_on_hold(books, &job, invoice.payment_hash)? {
            books.job_step(&job, event, &occasion)?;
            return Ok(());
        }
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
        if matches!(job.state, JobState::Executing { .. }) {
            activate_reservation(books, &job)?;
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

/// What follows for a job whose payment was held, now that it is credited; `None` if it was not.
fn credited_on_hold(
    books: &mut Books<'_>,
    job: &Job,
    hash: PaymentHash,
) -> Result<Option<JobEvent>, Refusal> {
    Ok(match &job.state {
        JobState::Settling { work, invoice, answer } if *invoice == hash => {
            let settlement = books.work_settle(job, work, answer.price)?;
            Some(JobEvent::Completed { completion: Completion::of(answer.clone(), settlement) })
        }
        // Somebody else has settled it, as after the restore of a backup: it is paid for beforehand.
        JobState::Held { invoice, .. } if *invoice == hash => Some(JobEvent::WorkPaid),
        // What has arrived all the same is refunded.
        JobState::Cancelling { invoice, message, .. } if *invoice == hash => {
            Some(JobEvent::Failed { message: message.clone() })
        }
        _ => None,
    })
}

/// Whether a job has a payment of this invoice held, about which it decides.
fn decides_on(job: &Job, hash: PaymentHash) -> bool {
    match &job.state {
        JobState::Held { invoice, .. }
        | JobState::Settling { invoice, .. }
        | JobState::Cancelling { invoice, .. } => *invoice == hash,
        _ => false,
    }
}

/// What the pool has offered for a job is used from now on.
fn activate_reservation(books: &mut Books<'_>, job: &Job) -> Result<(), Refusal> {
    if job.identity.is_some()
        && let Some(offer) = books.live_reservation(reservation_id(job.id))?
    {
        books.reservation_activate(&offer)?;
    }
    Ok(())
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
        // A job's identity never changes, nor does what its work invoice is.
        Ok(job.map(|job| -> Arc<dyn PaymentOwner> {
            let Job { id, identity, work_payment, .. } = job;
            Arc::new(JobOwner { job: id, identity, lease: None, work_payment })
        }))
    }
}
