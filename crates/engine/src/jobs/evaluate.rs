//! Evaluating a job's request.

use super::evaluation_finish::{EvaluationFinish, Verdict};
use super::service::Jobs;
use super::step::{Step, commit_result};
use super::worker::evaluation_failed;
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::inference::InferenceError;
use crate::quotes::Evaluated;
use crate::quotes::evaluation::{Judgement, UNREADABLE};
use std::time::Duration;
use tithe_chat::Chat;
use tithe_jobs::{Evaluation, Job, WorkTerms};
use tracing::{error, info, warn};

/// How long a job waits for a BTC price before it fails and is refunded, and how long it rests in between.
const PRICE_PATIENCE: Duration = Duration::from_hours(24);
const PRICE_REST: Duration = Duration::from_secs(5);

const WORK_UNPRICED: &str =
    "The request was accepted, but the work on it could not be priced. Only the evaluation fee is charged.";

impl Jobs {
    pub(super) async fn evaluate(&self, job: &Job) -> Step {
        // Without a price the work could not be quoted: no reason to run the model, nor to use up an attempt.
        if let Err(failure) = self.quotes.terms().await {
            warn!(error = chain(&failure), "the evaluation waits for a price");
            if self.core.now().since(job.updated_at) >= PRICE_PATIENCE {
                return self.evaluation_end(job, evaluation_failed()).await;
            }
            return Step::HandBack(PRICE_REST);
        }
        let Some(Evaluation { quote, .. }) = &job.evaluation else {
            error!("a job without an evaluation is to be evaluated");
            return self.evaluation_end(job, evaluation_failed()).await;
        };
        let occasion = format!("evaluation:{}", job.lease.claims);
        let Evaluated { judgement, run, usage } =
            match self.quotes.evaluate(quote, &job.request, job.id.0, &occasion).await {
                Ok(evaluated) => evaluated,
                Err(failure) => return self.evaluation_failed(job, &quote.model, failure).await,
            };
        let verdict = match judgement {
            None => Verdict::Unreadable(UNREADABLE.to_owned()),
            Some(Judgement::Reject(reason)) => Verdict::Rejected(reason),
            Some(Judgement::Accept) => match self.work_terms(job).await {
                Ok(work) => Verdict::Accepted(work),
                Err(failure @ EngineError::NoPrice(_)) => {
                    warn!(error = chain(&failure), "the evaluation will be repeated");
                    run.unpaid(&usage).await;
                    return Step::HandBack(PRICE_REST);
                }
                Err(failure) => {
                    warn!(error = chain(&failure), "the work could not be priced");
                    Verdict::Unreadable(WORK_UNPRICED.to_owned())
                }
            },
        };
        let step = self.evaluation_end(job, verdict).await;
        if step.is_committed() {
            run.paid();
        } else {
            run.unpaid(&usage).await;
        }
        step
    }

    /// What follows when the model has not answered.
    async fn evaluation_failed(&self, job: &Job, model: &str, failure: InferenceError) -> Step {
        let attempt = job.lease.attempts;
        warn!(error = chain(&failure), attempt, "the evaluation failed");
        if let Some(rest) = self.rest_while_refused(job, model, &failure).await {
            return Step::HandBack(rest);
        }
        match failure {
            // Nothing was generated: that is no attempt.
            InferenceError::Unavailable { retry_after, .. } => match self.backend_rest(job, retry_after) {
                Some(rest) => Step::HandBack(rest),
                None => self.evaluation_end(job, evaluation_failed()).await,
            },
            InferenceError::Refused(_) => self.evaluation_end(job, evaluation_failed()).await,
            // The model may have done its work, which costs the operator as much as an answer.
            InferenceError::TimedOut if attempt > 1 => self.evaluation_end(job, evaluation_failed()).await,
            _ if attempt >= self.core.settings.max_attempts => {
                self.evaluation_end(job, evaluation_failed()).await
            }
            _ => Step::TryAgain,
        }
    }

    /// Prices the work, now. The rates are frozen from now on.
    async fn work_terms(&self, job: &Job) -> Result<WorkTerms, EngineError> {
        let terms = self.quotes.terms().await?;
        let Some(model) = self.core.ports.catalogue.model(&job.model) else {
            error!(model = job.model, "the model of a job is no longer in the catalogue");
            return Err(EngineError::Internal);
        };
        Ok(WorkTerms::in_full(self.quotes.work(
            model,
            &Chat::of(&*job.request),
            job.max_output_tokens,
            &terms,
        )?)?)
    }

    pub(super) async fn evaluation_end(&self, job: &Job, verdict: Verdict) -> Step {
        let result = match &verdict {
            Verdict::Accepted(work) => format!("accepted for at most {}", work.full_amount),
            Verdict::Rejected(_) => "rejected".to_owned(),
            Verdict::Unreadable(_) => "unreadable".to_owned(),
            Verdict::Failed(_) => "failed".to_owned(),
        };
        info!(result, "evaluation finished");
        let finish = EvaluationFinish { job: job.id, identity: job.identity, lease: job.lease, verdict };
        commit_result(&self.core.committer, finish, Step::Next).await
    }
}
