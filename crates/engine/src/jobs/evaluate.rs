//! Evaluating a job's request.

use super::evaluation_finish::{EvaluationFinish, Verdict};
use super::service::Jobs;
use super::step::{Step, commit_result};
use super::worker::evaluation_failed;
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::inference::{self, InferenceError};
use crate::quotes::evaluation::{self, Judgement};
use crate::quotes::{Quotes, UnpaidRun};
use std::time::Duration;
use tithe_jobs::{Evaluation, Job, WorkTerms};
use tracing::{error, info, warn};

/// How long a job waits for a BTC price before it fails and is refunded, and how long it rests in between.
const PRICE_PATIENCE: Duration = Duration::from_hours(24);
const PRICE_REST: Duration = Duration::from_secs(5);

/// How often the evaluation model is run until its answer can be read.
const EVALUATION_RUNS_MAX: u32 = 2;
const EVALUATION_UNREADABLE: &str = "The request could not be evaluated: the evaluation model gave no clear answer. Only the evaluation fee is charged.";

const WORK_UNPRICED: &str =
    "The request was accepted, but the work on it could not be priced. Only the evaluation fee is charged.";

impl Jobs {
    pub(super) async fn evaluate(&self, job: &Job) -> Step {
        // Without a price the work could not be quoted: no reason to run the model, nor to use up an attempt.
        if let Err(failure) = self.quotes.terms().await {
            warn!(failure = chain(&failure), "the evaluation waits for a price");
            if self.core.now().since(job.updated_at) >= PRICE_PATIENCE {
                return self.evaluation_end(job, evaluation_failed()).await;
            }
            return Step::HandBack(PRICE_REST);
        }
        // No more output than the fee was worked out for.
        let Some(Evaluation { quote, .. }) = &job.evaluation else {
            error!("a job without an evaluation is to be evaluated");
            return self.evaluation_end(job, evaluation_failed()).await;
        };
        let ports = &self.core.ports;
        let chat = evaluation::chat(&quote.model, &job.request, quote.tokens.max_output);
        let patience = self.core.settings.work_timeout;
        let mut runs = 0;
        let (judgement, run, usage) = loop {
            runs += 1;
            let occasion = format!("evaluation:{}:{runs}", job.lease.claims);
            let run = UnpaidRun::new(&self.quotes, quote, chat.clone(), job.id.0, occasion);
            let (backend, catalogue) = (ports.inference.as_ref(), &ports.catalogue);
            let answered =
                inference::run(backend, catalogue, run.request(), patience, run.meter(), None).await;
            let answer = match answered {
                Ok(answer) => answer,
                Err(failure) => {
                    run.failed(&failure).await;
                    return self.evaluation_failed(job, &quote.model, failure).await;
                }
            };
            self.backend.answered(&quote.model);
            match evaluation::read(&answer.text) {
                Ok(judgement) => break (Some(judgement), run, answer.usage),
                Err(failure) => {
                    let chars = answer.text.chars().count();
                    warn!(failure = chain(&failure), chars, runs, "the evaluation is unreadable");
                }
            }
            // The model has done its work each time: it is asked once more, and then the fee is earned.
            if runs >= EVALUATION_RUNS_MAX {
                break (None, run, answer.usage);
            }
            // The fee pays for one run.
            run.unpaid(&answer.usage).await;
        };
        let verdict = match judgement {
            None => Verdict::Unreadable(EVALUATION_UNREADABLE.to_owned()),
            Some(Judgement::Reject(reason)) => Verdict::Rejected(reason),
            Some(Judgement::Accept) => match self.work_terms(job).await {
                Ok(work) => Verdict::Accepted(work),
                Err(failure @ EngineError::NoPrice(_)) => {
                    warn!(failure = chain(&failure), "the evaluation will be repeated");
                    run.unpaid(&usage).await;
                    return Step::HandBack(PRICE_REST);
                }
                Err(failure) => {
                    warn!(failure = chain(&failure), "the work could not be priced");
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
        warn!(failure = chain(&failure), attempt, "the evaluation failed");
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
        Ok(WorkTerms::in_full(Quotes::work(model, &job.request, job.max_output_tokens, &terms)?)?)
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
