//! Workers: take jobs from step to step.
//!
//! A worker holds a job by a lease that it renews while it works, and writes its result only as the lease's holder: a job that
//! another worker has taken over is never finished twice. Each step ends in one commit. A crash between two commits loses no
//! money: the lease runs out, and the step is tried again, at most [`crate::Settings::max_attempts`] times; then the job fails
//! and what was paid for it is refunded.

use super::evaluation_finish::Verdict;
use super::owner::JobOwner;
use super::service::Jobs;
use super::step::{Step, commit_result};
use super::work_finish::{Fault, WorkOutcome};
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::log::millis;
use crate::payments::{HeldWindow, InvoiceIssue, MintError};
use std::sync::Arc;
use std::time::Duration;
use tithe_chat::Finish;
use tithe_clock::Timestamp;
use tithe_jobs::{Job, JobClaim, JobState, WorkTerms};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

/// How long a step that failed waits before it is tried again: this, doubled for each attempt, up to the maximum.
const RETRY_BASE: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// How long a job rests whose work invoice could not be made because the wallet is not available.
const WALLET_REST: Duration = Duration::from_secs(2);

const EVALUATION_FAILED: &str = "The request could not be evaluated. What was paid is refunded in full.";
const INVOICE_FAILED: &str = "The invoice for the work could not be made.";
const WORK_FAILED: &str = "The work could not be done.";

/// The verdict on a request that could not be evaluated.
pub(super) fn evaluation_failed() -> Verdict {
    Verdict::Failed(EVALUATION_FAILED.to_owned())
}

/// What becomes of the money for work that could not be done.
const fn money_back(job: &Job) -> &'static str {
    match job.state {
        JobState::Held { .. } => "The payment for it was not taken.",
        _ => "What was paid for it is refunded in full.",
    }
}

/// The outcome of work that has no answer.
pub(super) fn work_without_answer(job: &Job, finish: Finish) -> WorkOutcome {
    let why = match finish {
        Finish::Length => "The model used up its output limit before it answered.",
        Finish::ContentFilter => "The model's content filter let no answer through.",
        Finish::Stop | Finish::ToolCalls | Finish::Other => "The model gave no answer.",
    };
    WorkOutcome::Failed { message: format!("{why} {}", money_back(job)), fault: Fault::Server }
}

/// The outcome of work that could not be done.
pub(super) fn work_failed(job: &Job, fault: Fault) -> WorkOutcome {
    WorkOutcome::Failed { message: format!("{WORK_FAILED} {}", money_back(job)), fault }
}

impl Jobs {
    /// Claims at most `limit` jobs that have something to do.
    pub(crate) async fn claim(&self, limit: usize) -> Result<Vec<Job>, EngineError> {
        let now = self.core.now();
        let until = now + self.core.settings.lease;
        let claim = JobClaim { owner: self.lease_owner, now, until, limit };
        Ok(self.core.ports.store.jobs_claim(&claim).await?)
    }

    /// Works on a claimed job until it waits for something else or has ended, or until the work is to be handed back.
    pub(crate) async fn work(&self, job: Job, hand_back: &CancellationToken) {
        let span = info_span!("job", job_id = %job.id);
        self.work_steps(job, hand_back).instrument(span).await;
    }

    async fn work_steps(&self, mut job: Job, hand_back: &CancellationToken) {
        loop {
            let step = tokio::select! {
                step = self.step(&job) => step,
                () = self.lease_keep(&job) => {
                    warn!("the job was taken over by another worker");
                    Step::Lost
                }
                () = hand_back.cancelled() => Step::HandBack(Duration::ZERO),
            };
            match step {
                Step::Next(next) if next.state.is_runnable() => job = *next,
                Step::Over | Step::Lost | Step::Next(_) => break,
                Step::TryAgain => {
                    self.postpone(&job).await;
                    break;
                }
                Step::HandBack(rest) => {
                    let until = self.core.now() + rest;
                    match self.core.ports.store.job_lease_hand_back(job.id, &job.lease, until).await {
                        Ok(true) => {
                            info!(wait_ms = millis(rest), "job handed back");
                            if rest.is_zero() {
                                self.core.publish_handed_back().await;
                            }
                        }
                        Ok(false) => warn!("the job was taken over by another worker"),
                        Err(failure) => {
                            warn!(
                                error = chain(&failure),
                                "the job could not be handed back; its lease runs out"
                            );
                        }
                    }
                    break;
                }
            }
        }
        if matches!(job.state, JobState::Executing { .. }) {
            self.feed.end_text(job.id, job.lease.claims);
        }
    }

    async fn step(&self, job: &Job) -> Step {
        let max_attempts = self.core.settings.max_attempts;
        let spent = job.lease.attempts > max_attempts;
        match &job.state {
            JobState::Evaluating if spent => self.evaluation_end(job, evaluation_failed()).await,
            JobState::Evaluating => self.evaluate(job).await,
            // The wallet is available, but makes no such invoice; the fee is earned: more patience is due.
            JobState::Accepted { .. } if job.lease.attempts > max_attempts.saturating_mul(4) => {
                self.evaluation_end(job, Verdict::Failed(INVOICE_FAILED.to_owned())).await
            }
            JobState::Accepted { work } => self.invoice_work(job, work).await,
            JobState::Executing { .. } if spent => self.work_end(job, work_failed(job, Fault::Server)).await,
            JobState::Executing { work, .. } => {
                self.execute(job, work, self.core.settings.work_timeout).await
            }
            JobState::Held { work, until, .. } => self.execute_held(job, work, *until, spent).await,
            // Neither is ever given up: the wallet's record says how it ends.
            JobState::Settling { work, invoice, .. } => self.settle_held(job, work, *invoice).await,
            JobState::Cancelling { invoice, .. } => self.cancel_held(job, *invoice).await,
            JobState::AwaitingEvalPayment
            | JobState::AwaitingWorkPayment { .. }
            | JobState::Rejected { .. }
            | JobState::Complete { .. }
            | JobState::Failed { .. }
            | JobState::Expired { .. } => Step::Over,
        }
    }

    /// Renews the lease for as long as it is ours; returns when it no longer is.
    async fn lease_keep(&self, job: &Job) {
        let lease = self.core.settings.lease;
        loop {
            tokio::time::sleep(lease / 3).await;
            let until = self.core.now() + lease;
            match self.core.ports.store.job_lease_renew(job.id, &job.lease, until).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(failure) => warn!(error = chain(&failure), "the lease could not be renewed"),
            }
        }
    }

    /// Lets the lease run out after a while, so that the step is tried again.
    async fn postpone(&self, job: &Job) {
        let attempt = job.lease.attempts;
        let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        let wait = RETRY_BASE.saturating_mul(factor).min(RETRY_MAX);
        let until = self.core.now() + wait;
        match self.core.ports.store.job_lease_renew(job.id, &job.lease, until).await {
            Ok(true) => info!(wait_ms = millis(wait), attempt, "the step will be tried again"),
            Ok(false) => warn!("the job was taken over by another worker"),
            Err(failure) => warn!(
                error = chain(&failure),
                attempt, "the step will be tried again when its lease has run out"
            ),
        }
    }

    /// Does work whose payment is held, within the time that it is. If too little of that is left, the payment is given back.
    async fn execute_held(&self, job: &Job, work: &WorkTerms, until: Timestamp, spent: bool) -> Step {
        let window = HeldWindow::until_then(until, self.core.now());
        if spent || !window.is_long_enough() {
            return self.work_end(job, work_failed(job, Fault::Server)).await;
        }
        let patience = window.left().min(self.core.settings.work_timeout);
        match self.execute(job, work, patience).await {
            Step::HandBack(rest) => {
                let left = HeldWindow::until_then(until, self.core.now()).left();
                Step::HandBack(rest.min(left))
            }
            step => step,
        }
    }

    async fn invoice_work(&self, job: &Job, work: &WorkTerms) -> Step {
        let (invoice, work_payment) = match self.mint_work(job, work).await {
            Ok(minted) => minted,
            Err(failure) => {
                warn!(error = chain(&failure), attempt = job.lease.attempts, "the work got no invoice");
                let waited = self.core.now().since(job.updated_at);
                return match failure {
                    MintError::Unavailable if waited >= self.core.settings.outage_patience => {
                        self.evaluation_end(job, Verdict::Failed(INVOICE_FAILED.to_owned())).await
                    }
                    // Nothing that was shown to anybody was made: that is no attempt.
                    MintError::Unavailable => Step::HandBack(WALLET_REST),
                    MintError::Unfit => Step::TryAgain,
                };
            }
        };
        let (lease, identity) = (Some(job.lease), job.identity);
        let owner = Arc::new(JobOwner { job: job.id, identity, lease, work_payment });
        let issue = InvoiceIssue { owner, invoice, finish: None };
        commit_result(&self.core.committer, issue, |_issued| Step::Over).await
    }
}
