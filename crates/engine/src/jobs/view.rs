//! Reading jobs.

use super::service::Jobs;
use crate::books::rows::{self, RowKind};
use crate::error::EngineError;
use crate::payouts::RefundView;
use tithe_jobs::{Job, JobId, JobSummary};
use tithe_ledger::AccountId;
use tithe_lightning::{Invoice, PaymentHash, Preimage};
use tithe_trust::{NostrPubkey, Tier};

/// A job with its invoices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobView {
    /// The job.
    pub job: Job,
    /// The invoice for the evaluation.
    pub eval_invoice: Option<Invoice>,
    /// The invoice for the work.
    pub work_invoice: Option<Invoice>,
    /// The present tier of the job's identity.
    pub tier: Tier,
    /// What is owed to the customer.
    pub refund: RefundView,
}

/// A job in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobListing {
    /// The job.
    pub job: JobSummary,
    /// What is owed to the customer; `None` if nothing ever was.
    pub refund: Option<RefundView>,
}

impl Jobs {
    /// A job and its invoices. Unpaid invoices are looked up at the wallet first, at most once a second.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Busy`].
    pub async fn view(&self, id: JobId) -> Result<JobView, EngineError> {
        let view = self.view_as_stored(id).await?;
        let mut changed = false;
        for invoice in [&view.eval_invoice, &view.work_invoice].into_iter().flatten() {
            changed |= self.payments.check_on_read(invoice).await;
        }
        if changed { self.view_as_stored(id).await } else { Ok(view) }
    }

    /// The jobs of an identity, newest first, at most `limit`; with `before`, those that are older than that job.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub async fn of_identity(
        &self,
        identity: NostrPubkey,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobListing>, EngineError> {
        let jobs = self.core.ports.store.jobs_of_identity(identity, before, limit).await?;
        let owed = jobs.iter().filter(|job| !job.refund.amount().is_zero());
        let accounts: Vec<AccountId> = owed.map(|job| AccountId::Job(job.id.0)).collect();
        let mut refunds = self.payouts.refunds(&accounts).await?;
        let listing = |job: JobSummary| {
            let refund = refunds.remove(&AccountId::Job(job.id.0));
            JobListing { job, refund }
        };
        Ok(jobs.into_iter().map(listing).collect())
    }

    /// Whether somebody owns a job that `invoice` pays for: the job's identity does, and so does whoever presents, as `secret`,
    /// the job's claim token or the preimage of the payment. The payment hash alone proves nothing: every node on the way of the
    /// payment knows it.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub async fn is_owner(
        &self,
        id: JobId,
        invoice: PaymentHash,
        identity: Option<NostrPubkey>,
        secret: Option<&str>,
    ) -> Result<bool, EngineError> {
        if let Some(secret) = secret {
            let preimage: Option<Preimage> = secret.parse().ok();
            if self.tokens.verify(id.0, secret) || preimage.is_some_and(|it| it.payment_hash() == invoice) {
                return Ok(true);
            }
        }
        let Some(identity) = identity else { return Ok(false) };
        let job = self.core.ports.store.job(id).await?;
        Ok(job.is_some_and(|job| job.identity == Some(identity)))
    }

    pub(super) async fn view_as_stored(&self, id: JobId) -> Result<JobView, EngineError> {
        let store = &self.core.ports.store;
        let job = store.job(id).await?.ok_or_else(|| EngineError::not_found(rows::Jobs::NAME, &id))?;
        let invoice = async |hash| match hash {
            Some(hash) => store.invoice(hash).await,
            None => Ok(None),
        };
        let eval_invoice = invoice(job.evaluation_invoice()).await?;
        let work_invoice = invoice(job.state.work_invoice()).await?;
        let tier = self.identities.tier_of(job.identity).await?;
        let refund = self.payouts.refund(AccountId::Job(id.0), job.refund.amount()).await?;
        Ok(JobView { job, eval_invoice, work_invoice, tier, refund })
    }
}
