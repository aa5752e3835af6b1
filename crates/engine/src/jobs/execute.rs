//! Doing a job's work.

use super::service::Jobs;
use super::step::{Step, commit_result};
use super::work_finish::{Fault, WorkFinish, WorkOutcome};
use super::worker::{work_failed, work_without_answer};
use crate::error_chain::chain;
use crate::inference::{self, Answer, Attempts, ChatRequest, InferenceError, Target};
use crate::quotes::{UnpaidRun, quote_at, rates_at};
use std::sync::Arc;
use std::time::Duration;
use tithe_chat::{Chat, Delta, Finish};
use tithe_jobs::{Job, JobState, WorkTerms};
use tokio::time::Instant;
use tracing::{info, warn};

/// How long a job rests whose backend is not available: what the backend asks for, but at least and at most this.
const BACKEND_REST: Duration = Duration::from_secs(1);
const BACKEND_REST_MAX: Duration = Duration::from_mins(10);

/// How long a job rests whose backend refuses the server itself.
const REFUSED_REST: Duration = Duration::from_secs(15);

/// Whether the text of the work is shown while it is written. What is not paid for yet is not delivered.
const fn is_shown(job: &Job) -> bool {
    !matches!(job.state, JobState::Held { .. })
}

impl Jobs {
    /// Does the work of a job, for so long at most.
    pub(super) async fn execute(&self, job: &Job, work: &WorkTerms, patience: Duration) -> Step {
        let attempt = job.lease.attempts;
        if is_shown(job) {
            self.feed.begin_text(job.id, job.lease.claims);
        }
        let chat = Arc::new(Chat::of(&*job.request));
        let targets = self.quotes.targets(&job.model, &chat).unwrap_or_default();
        let mut attempts = Attempts::new(&targets, Some(&self.backend));
        let until = Instant::now() + patience;
        let (failure, begun) = loop {
            let target = match attempts.target() {
                Ok(target) => target,
                Err(failure) => break (failure, false),
            };
            let request = ChatRequest {
                model: target.model.as_ref().to_owned(),
                chat: Arc::clone(&chat),
                max_output_tokens: work.quote.tokens.max_output,
                deterministic: false,
            };
            let occasion = attempts.occasion(&format!("work:{}", job.lease.claims));
            let quote = quote_at(&work.quote, target);
            let run = UnpaidRun::new(&self.quotes, &quote, request, job.id.0, occasion);
            let patience = until.saturating_duration_since(Instant::now());
            let failure = match self.run_work(job, target, &run, patience).await {
                Ok(answer) => {
                    attempts.answered();
                    let is_cut = answer.reply.finish == Finish::Length && Instant::now() >= until;
                    if is_cut && !is_shown(job) {
                        // The time is ours, not the customer's: a payment is not taken for a part.
                        run.unpaid(&answer.usage).await;
                        return self.work_end(job, work_failed(job, Fault::Server)).await;
                    }
                    return self.work_answered(job, work, target, answer, run).await;
                }
                Err(failure) => failure,
            };
            warn!(error = chain(&failure), attempt, "the work failed");
            let begun = run.meter().has_begun();
            run.failed(&failure).await;
            if let Err(failure) = attempts.failed(failure, begun || Instant::now() >= until) {
                break (failure, begun);
            }
        };
        if !begun && let Some(rest) = self.rest_while_refused(job, &job.model, &failure).await {
            return Step::HandBack(rest);
        }
        match failure {
            // Nothing was generated: that is no attempt.
            InferenceError::Unavailable { retry_after, .. } if !begun => {
                match self.backend_rest(job, retry_after) {
                    Some(rest) => Step::HandBack(rest),
                    None => self.work_end(job, work_failed(job, Fault::Server)).await,
                }
            }
            InferenceError::Refused(_) => self.work_end(job, work_failed(job, Fault::Request)).await,
            // Work that had begun to answer is run again at most once: each run costs the operator as much as the answer.
            _ if begun && (attempt > 1 || !matches!(failure, InferenceError::Interrupted(_))) => {
                self.work_end(job, work_failed(job, Fault::Server)).await
            }
            // So may work have that did not answer in time.
            InferenceError::TimedOut if attempt > 1 => {
                self.work_end(job, work_failed(job, Fault::Server)).await
            }
            _ if attempt >= self.core.settings.max_attempts => {
                self.work_end(job, work_failed(job, Fault::Server)).await
            }
            _ => Step::TryAgain,
        }
    }

    /// Runs the model of a target. What it writes goes to the job's followers, if it is shown.
    async fn run_work(
        &self,
        job: &Job,
        target: &Target,
        run: &UnpaidRun,
        patience: Duration,
    ) -> Result<Answer, InferenceError> {
        let listen = |delta: &Delta| {
            if is_shown(job)
                && let Delta::Text(text) = delta
            {
                self.feed.add_text(job.id, job.lease.claims, text);
            }
        };
        let (backend, catalogue) = (target.inference.as_ref(), &self.core.ports.catalogue);
        inference::run(backend, catalogue, run.request(), patience, run.meter(), Some(&listen)).await
    }

    /// Ends the work with an answer. One without any text is none: it is not paid for, and not asked for again.
    async fn work_answered(
        &self,
        job: &Job,
        work: &WorkTerms,
        target: &Target,
        answer: Answer,
        run: UnpaidRun,
    ) -> Step {
        let usage = answer.usage;
        let (text, finish) = (answer.reply.text(), inference::finish_reason(answer.reply.finish));
        if text.trim().is_empty() {
            run.unpaid(&usage).await;
            return self.work_end(job, work_without_answer(job, answer.reply.finish)).await;
        }
        let (text, estimated, rates) = (text.into(), answer.estimated, rates_at(&work.quote, target));
        let outcome = WorkOutcome::Completed { text, usage, estimated, finish, rates };
        let step = self.work_end(job, outcome).await;
        if step.is_committed() {
            run.paid();
        } else {
            run.unpaid(&usage).await;
        }
        step
    }

    /// How long a job rests because the backend refuses the server itself: waiting is not trying. `None` if it does not, or the job has
    /// waited too long already.
    pub(super) async fn rest_while_refused(
        &self,
        job: &Job,
        model: &str,
        failure: &InferenceError,
    ) -> Option<Duration> {
        if !matches!(failure, InferenceError::Misconfigured(_) | InferenceError::Nonsense(_)) {
            return None;
        }
        let (refuses, probed) = self.backend.refuses(model).await;
        for probed in &probed {
            self.quotes.book_probe(probed).await;
        }
        if refuses { self.backend_rest(job, Some(REFUSED_REST)) } else { None }
    }

    /// How long a job rests whose backend is not available; `None` if it has waited too long already.
    pub(super) fn backend_rest(&self, job: &Job, retry_after: Option<Duration>) -> Option<Duration> {
        let waited = self.core.now().since(job.updated_at);
        (waited < self.core.settings.outage_patience)
            .then(|| retry_after.unwrap_or(BACKEND_REST).clamp(BACKEND_REST, BACKEND_REST_MAX))
    }

    pub(super) async fn work_end(&self, job: &Job, outcome: WorkOutcome) -> Step {
        match &outcome {
            WorkOutcome::Completed { usage, .. } => info!(
                input_tokens = usage.input_tokens,
                cached_input_tokens = usage.cached_input_tokens,
                output_tokens = usage.output_tokens,
                "work finished"
            ),
            WorkOutcome::Failed { fault: Fault::Request, .. } => {
                info!(fault = "request", "work failed for good");
            }
            WorkOutcome::Failed { fault: Fault::Server, .. } => {
                warn!(fault = "server", "work failed for good");
            }
        }
        let finish = WorkFinish { job: job.id, identity: job.identity, lease: job.lease, outcome };
        commit_result(&self.core.committer, finish, Step::Next).await
    }
}
