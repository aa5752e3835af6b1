//! Reading jobs.

use super::service::Jobs;
use crate::books::rows::{self, RowKind};
use crate::error::EngineError;
use tithe_jobs::{Job, JobId};
use tithe_lightning::Invoice;
use tithe_trust::Tier;

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
        Ok(JobView { job, eval_invoice, work_invoice, tier })
    }
}
