//! Evaluating a job's request.

use super::evaluation_finish::{EvaluationFinish, Verdict};
use super::service::Jobs;
use super::step::{Step, commit_result};
use super::worker::evaluation_failed;
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::inference;
use crate::quotes::evaluation::{self, Judgement};
use std::time::Duration;
use tithe_jobs::{Evaluation, Job, WorkTerms};
use tracing::{error, info, warn};

/// How long a job waits for a BTC price before it fails and is refunded, and how long it rests in between.
const PRICE_PATIENCE: Duration = Duration::from_hours(24);
const PRICE_REST: Duration = Duration::from_secs(5);

impl Jobs {
    pub(super) async fn evaluate(&self, job: &Job) -> Step {
        // Without a price the work could not be quoted: no reason to run the model, nor to use up an attempt.
        if let Err(failure) = self.quotes.terms().await {
            warn!(%failure, "the evaluation waits for a price");
            if self.core.now().since(job.updated_at) >= PRICE_PATIENCE {
                return self.evaluation_end(job, evaluation_failed()).await;
            }
            return Step::HandBack(PRICE_REST);
        }
        let attempt = job.lease.attempts;
        // No more output than the fee was worked out for.
        let Some(Evaluation { quote, .. }) = &job.evaluation else {
            error!("a job without an evaluation is to be evaluated");
            return self.evaluation_end(job, evaluation_failed()).await;
        };
        let ports = &self.core.ports;
        let chat = evaluation::chat(&quote.model, &job.request, quote.tokens.max_output);
        let answered = inference::run(ports.inference.as_ref(), &ports.catalogue, &chat, None);
        let answer = match tokio::time::timeout(self.core.settings.work_timeout, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(failure)) => {
                warn!(failure = chain(&failure), attempt, "the evaluation failed");
                let hopeless = failure.is_refusal();
                if hopeless || attempt >= self.core.settings.max_attempts {
                    return self.evaluation_end(job, evaluation_failed()).await;
                }
                return Step::TryAgain;
            }
            Err(_elapsed) => {
                warn!(attempt, "the evaluation timed out");
                return Step::TryAgain;
            }
        };
        let verdict = match evaluation::read(&answer.text) {
            Ok(Judgement::Reject(reason)) => Verdict::Rejected(reason),
            Ok(Judgement::Accept) => match self.work_terms(job).await {
                Ok(work) => Verdict::Accepted(work),
                Err(failure @ EngineError::NoPrice(_)) => {
                    warn!(%failure, "the evaluation will be repeated");
                    return Step::HandBack(PRICE_REST);
                }
                Err(failure) => {
                    warn!(%failure, "the work could not be priced");
                    return Step::TryAgain;
                }
            },
            Err(failure) => {
                warn!(%failure, chars = answer.text.chars().count(), "the evaluation is unreadable");
                return Step::TryAgain;
            }
        };
        self.evaluation_end(job, verdict).await
    }

    /// Prices the work, now. The rates are frozen from now on.
    async fn work_terms(&self, job: &Job) -> Result<WorkTerms, EngineError> {
        let terms = self.quotes.terms().await?;
        let Some(model) = self.core.ports.catalogue.model(&job.model) else {
            error!(model = job.model, "the model of a job is no longer in the catalogue");
            return Err(EngineError::Internal);
        };
        Ok(WorkTerms::in_full(model.quote(&[&job.request], job.max_output_tokens, &terms)?)?)
    }

    pub(super) async fn evaluation_end(&self, job: &Job, verdict: Verdict) -> Step {
        let result = match &verdict {
            Verdict::Accepted(work) => format!("accepted for at most {}", work.full_amount),
            Verdict::Rejected(_) => "rejected".to_owned(),
            Verdict::Failed(_) => "failed".to_owned(),
        };
        info!(result, "evaluation finished");
        let finish = EvaluationFinish { job: job.id, identity: job.identity, lease: job.lease, verdict };
        commit_result(&self.core.committer, finish, Step::Next).await
    }
}
