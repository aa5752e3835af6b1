//! Taking the payment of work that is done, or giving it back.

use super::hold_end::HoldEnd;
use super::service::Jobs;
use super::step::{Step, commit_result};
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::payments::{HELD_NTH, HoldOutcome, MintError, NewInvoice, hold_rest};
use tithe_jobs::{Job, WorkPayment, WorkTerms};
use tithe_lightning::{Invoice, OwnerId, PaymentHash, Purpose};
use tracing::{info, warn};

/// The invoice for the work of a job, of one kind or the other. They have different ids at the wallet: only the one that is stored is ever
/// shown, whichever was made before.
pub(super) fn work_invoice(job: &Job, work: &WorkTerms, payment: WorkPayment) -> NewInvoice {
    NewInvoice {
        owner: OwnerId(job.id.0),
        purpose: Purpose::JobWork,
        nth: match payment {
            WorkPayment::Prepaid => 0,
            WorkPayment::Held => HELD_NTH,
        },
        amount: work.amount,
        // Every node on the way of the payment can read it: no id of ours.
        description: "Tithe: work on a request".to_owned(),
    }
}

impl Jobs {
    /// Has the wallet make the invoice for the work: a hold invoice if the customer has chosen that, the wallet has them, and not too many
    /// are open; otherwise an ordinary one.
    pub(super) async fn mint_work(
        &self,
        job: &Job,
        work: &WorkTerms,
    ) -> Result<(Invoice, WorkPayment), MintError> {
        let payment = self.payment_of_work(job).await.map_err(|failure| {
            warn!(error = chain(&failure), "held payments could not be counted");
            MintError::Unavailable
        })?;
        if payment == WorkPayment::Held {
            match self.payments.mint_held(&work_invoice(job, work, payment)).await {
                Err(MintError::Unfit) => {
                    warn!("the wallet made no hold invoice; the work gets an ordinary one");
                }
                minted => return minted.map(|invoice| (invoice, payment)),
            }
        }
        let invoice = self.payments.mint(&work_invoice(job, work, WorkPayment::Prepaid)).await?;
        Ok((invoice, WorkPayment::Prepaid))
    }

    /// How the work of a job can be paid now.
    async fn payment_of_work(&self, job: &Job) -> Result<WorkPayment, EngineError> {
        let most = self.core.settings.held_payments_max;
        if job.work_payment != WorkPayment::Held || most == 0 || !self.payments.makes_hold_invoices() {
            return Ok(WorkPayment::Prepaid);
        }
        let store = &self.core.ports.store;
        let requests = store.kept_requests_total().await?.requests;
        let open = store.jobs_on_hold().await?.saturating_add(requests);
        if open < most {
            return Ok(WorkPayment::Held);
        }
        info!(open, "too many payments may be held; the work gets an ordinary invoice");
        Ok(WorkPayment::Prepaid)
    }

    /// Takes the payment of work that is done. It is credited together with the charge, and the job is complete.
    pub(super) async fn settle_held(&self, job: &Job, work: &WorkTerms, hash: PaymentHash) -> Step {
        let id = work_invoice(job, work, WorkPayment::Held).id();
        let settled = self.payments.settle_held(id, hash).await;
        if matches!(settled, Ok(HoldOutcome::Gone)) {
            warn!(payment_hash = %hash, "the payment of finished work had gone back");
        }
        self.hold_step(job, settled).await
    }

    /// Gives the payment of work back that could not be done.
    pub(super) async fn cancel_held(&self, job: &Job, hash: PaymentHash) -> Step {
        let cancelled = self.payments.cancel_held(hash).await;
        if matches!(cancelled, Ok(HoldOutcome::Credited)) {
            warn!(payment_hash = %hash, "a payment was received that was to be given back; it is refunded");
        }
        self.hold_step(job, cancelled).await
    }

    async fn hold_step(&self, job: &Job, outcome: Result<HoldOutcome, EngineError>) -> Step {
        let rest = hold_rest(self.core.now().since(job.updated_at));
        match outcome {
            // The job has ended with the credit.
            Ok(HoldOutcome::Credited) => Step::Over,
            Ok(HoldOutcome::Gone) => {
                let end = HoldEnd { job: job.id, identity: job.identity, lease: job.lease };
                commit_result(&self.core.committer, end, Step::Next).await
            }
            Ok(HoldOutcome::Open) => Step::HandBack(rest),
            Err(failure) => {
                warn!(error = chain(&failure), "the held payment is looked at again later");
                Step::HandBack(rest)
            }
        }
    }
}
