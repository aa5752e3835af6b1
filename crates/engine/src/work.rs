//! Workers: evaluate, invoice, execute.
//!
//! A worker holds a job by a lease that it renews while it works, and writes its result only as the lease's holder: a job
//! that was taken over is never finished twice. Each step ends in one commit. A crash between two loses no money: the lease
//! runs out, and the step is done again, at most [`crate::Settings::max_attempts`] times; then the job fails and what was
//! paid for it is owed back.

use crate::commands::{Answer, Command, Fault, Refusal, Verdict, WorkOutcome};
use crate::committer::{CommitError, chain};
use crate::evaluation::{self, Judgement};
use crate::inference::{ChatEvent, ChatRequest, InferenceError, Message, Role};
use crate::{Engine, EngineError};
use futures_util::StreamExt;
use std::time::Duration;
use tithe_jobs::{Job, JobClaim, JobState, Lease, WorkTerms};
use tithe_lightning::Purpose;
use tithe_pricing::{Quote, Tokenizer, Usage};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, info_span, warn};

/// How long a step that failed waits before it is tried again: this, doubled for each attempt.
const RETRY_BASE: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// How long a job waits for a BTC price before it is given up and owed back, and how long it rests in between.
const PRICE_PATIENCE: Duration = Duration::from_hours(24);
const PRICE_REST: Duration = Duration::from_secs(5);

/// How long a finished worker waits before it tries again to write its result down, and how often the database may refuse
/// the result itself. One that is only away is waited for.
const COMMIT_AGAIN_AFTER: Duration = Duration::from_millis(200);
const COMMIT_FAILURES_MAX: u32 = 10;

const EVALUATION_FAILED: &str = "The request could not be evaluated. What was paid is owed back in full.";
const INVOICE_FAILED: &str = "The invoice for the work could not be made.";
const WORK_FAILED: &str = "The work could not be done. What was paid for it is owed back in full.";

fn work_failed(fault: Fault) -> WorkOutcome {
    WorkOutcome::Failed { message: WORK_FAILED.to_owned(), fault }
}

/// What a worker does next for a job.
enum Step {
    /// The job is no longer ours, or waits for something else.
    Over,
    /// There is more to do: the job as it is now.
    Goes(Box<Job>),
    /// It did not work out this time.
    TryAgain,
    /// It was not tried: the job is given back as it was, to rest for that long.
    HandBack(Duration),
}

impl Engine {
    pub(crate) async fn jobs_claim(&self, limit: usize) -> Result<Vec<Job>, EngineError> {
        let now = self.now();
        let claim = JobClaim { owner: self.owner, now, until: now + self.settings.lease, limit };
        Ok(self.ports.store.jobs_claim(&claim).await?)
    }

    /// Works on a claimed job until it waits for somebody else, or has ended.
    pub(crate) async fn job_work(&self, job: Job, give_up: &CancellationToken) {
        let span = info_span!("job", id = %job.id);
        self.job_work_steps(job, give_up).instrument(span).await;
    }

    async fn job_work_steps(&self, mut job: Job, give_up: &CancellationToken) {
        loop {
            let step = tokio::select! {
                step = self.job_step(&job) => step,
                () = self.lease_keep(&job) => {
                    warn!("the job was taken over by another worker");
                    Step::Over
                }
                () = give_up.cancelled() => {
                    Step::HandBack(Duration::ZERO)
                }
            };
            match step {
                Step::Over => break,
                Step::Goes(next) if next.state.is_runnable() => job = *next,
                Step::Goes(_) => break,
                Step::TryAgain => {
                    self.job_postpone(&job).await;
                    break;
                }
                Step::HandBack(rest) => {
                    let until = self.now() + rest;
                    let handed = self.ports.store.job_lease_hand_back(job.id, &job.lease, until).await;
                    info!(?handed, ?rest, "the job was handed back");
                    break;
                }
            }
        }
        if matches!(job.state, JobState::Executing { .. }) {
            self.feed.end_text(job.id, job.lease.claims);
        }
    }

    async fn job_step(&self, job: &Job) -> Step {
        let spent = job.lease.attempts > self.settings.max_attempts;
        match &job.state {
            JobState::Evaluating if spent => {
                self.evaluation_end(job, Verdict::Failed(EVALUATION_FAILED.to_owned())).await
            }
            JobState::Evaluating => self.job_evaluate(job).await,
            // Nothing has failed but our wallet, and the fee is earned: more patience is due.
            JobState::Accepted { .. }
                if job.lease.attempts > self.settings.max_attempts.saturating_mul(4) =>
            {
                self.evaluation_end(job, Verdict::Failed(INVOICE_FAILED.to_owned())).await
            }
            JobState::Accepted { work } => self.job_invoice_work(job, work).await,
            JobState::Executing { .. } if spent => self.work_end(job, work_failed(Fault::Server)).await,
            JobState::Executing { work, .. } => self.job_execute(job, work).await,
            _ => Step::Over,
        }
    }

    /// Renews the lease for as long as it is ours; returns when it no longer is.
    async fn lease_keep(&self, job: &Job) {
        loop {
            tokio::time::sleep(self.settings.lease / 3).await;
            let until = self.now() + self.settings.lease;
            match self.ports.store.job_lease_renew(job.id, &job.lease, until).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(failure) => warn!(failure = chain(&failure), "the lease could not be renewed"),
            }
        }
    }

    /// Lets the lease run out after a while, so that the step is tried again.
    async fn job_postpone(&self, job: &Job) {
        let factor = 1_u32.checked_shl(job.lease.attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        let wait = RETRY_BASE.saturating_mul(factor).min(RETRY_MAX);
        let postponed = self.ports.store.job_lease_renew(job.id, &job.lease, self.now() + wait).await;
        debug!(?wait, ?postponed, attempt = job.lease.attempts, "the step will be tried again");
    }

    async fn job_evaluate(&self, job: &Job) -> Step {
        // Without a price the work could not be quoted: no reason to ask the model, nor to count it against the job.
        if let Err(failure) = self.terms().await {
            warn!(%failure, "the evaluation waits");
            if self.now().since(job.updated_at) >= PRICE_PATIENCE {
                return self.evaluation_end(job, Verdict::Failed(EVALUATION_FAILED.to_owned())).await;
            }
            return Step::HandBack(PRICE_REST);
        }
        let chat = Self::evaluation_chat(job);
        let asked = self.ports.inference.complete(&chat);
        let answer = match tokio::time::timeout(self.settings.work_timeout, asked).await {
            Ok(Ok(completion)) => completion.text,
            Ok(Err(failure)) => {
                warn!(failure = chain(&failure), attempt = job.lease.attempts, "the evaluation failed");
                return self
                    .again_or(job, &failure, async || {
                        self.evaluation_end(job, Verdict::Failed(EVALUATION_FAILED.to_owned())).await
                    })
                    .await;
            }
            Err(_elapsed) => {
                warn!(attempt = job.lease.attempts, "the evaluation took too long");
                return Step::TryAgain;
            }
        };
        let verdict = match evaluation::read(&answer) {
            Ok(Judgement::Reject(reason)) => Verdict::Rejected(reason),
            Ok(Judgement::Accept) => match self.work_terms(job).await {
                Ok(work) => Verdict::Accepted(work),
                Err(failure @ EngineError::NoPrice(_)) => {
                    warn!(%failure, "the evaluation will be done again");
                    return Step::HandBack(PRICE_REST);
                }
                Err(failure) => {
                    warn!(%failure, "the work could not be priced");
                    return Step::TryAgain;
                }
            },
            Err(failure) => {
                warn!(%failure, chars = answer.chars().count(), "the evaluation was unreadable");
                return Step::TryAgain;
            }
        };
        self.evaluation_end(job, verdict).await
    }

    /// What the evaluation model is asked, with no more output than its fee was worked out for.
    fn evaluation_chat(job: &Job) -> ChatRequest {
        let Quote { model, tokens, .. } = &job.evaluation.quote;
        evaluation::chat(model, &job.request, tokens.max_output)
    }

    /// Prices the work, now, at rates that are frozen from now on.
    async fn work_terms(&self, job: &Job) -> Result<WorkTerms, EngineError> {
        let terms = self.terms().await?;
        let model = self.ports.catalogue.model(&job.model).ok_or(EngineError::Internal)?;
        Ok(WorkTerms::in_full(model.quote(&[&job.request], job.max_output_tokens, &terms)?)?)
    }

    async fn evaluation_end(&self, job: &Job, verdict: Verdict) -> Step {
        let how = match &verdict {
            Verdict::Accepted(work) => format!("accepted for at most {}", work.full_amount),
            Verdict::Rejected(_) => "rejected".to_owned(),
            Verdict::Failed(_) => "failed".to_owned(),
        };
        info!(how, "the evaluation has ended");
        self.write_down(
            |lease| Command::EvaluationFinish {
                job: job.id,
                identity: job.identity,
                lease,
                verdict: verdict.clone(),
            },
            job.lease,
        )
        .await
    }

    async fn job_invoice_work(&self, job: &Job, work: &WorkTerms) -> Step {
        let invoice = match self.invoice_mint(job, Purpose::JobWork, work.amount).await {
            Ok(invoice) => invoice,
            Err(failure) => {
                warn!(%failure, attempt = job.lease.attempts, "the work got no invoice");
                return Step::TryAgain;
            }
        };
        let issue = |lease| Command::InvoiceIssue {
            job: job.id,
            invoice: invoice.clone(),
            lease: Some(lease),
            finish: None,
        };
        self.write_down(issue, job.lease).await
    }

    async fn job_execute(&self, job: &Job, work: &WorkTerms) -> Step {
        self.feed.begin_text(job.id, job.lease.claims);
        let executed = self.execute(job, work);
        match tokio::time::timeout(self.settings.work_timeout, executed).await {
            Ok(Ok(outcome)) => self.work_end(job, outcome).await,
            Ok(Err(failure)) => {
                warn!(failure = chain(&failure), attempt = job.lease.attempts, "the work failed");
                // What the backend refuses it refuses for what was asked.
                let refused = matches!(failure, InferenceError::Refused(_));
                let fault = if refused { Fault::Request } else { Fault::Server };
                self.again_or(job, &failure, async || self.work_end(job, work_failed(fault)).await).await
            }
            Err(_elapsed) => {
                warn!(attempt = job.lease.attempts, "the work took too long");
                Step::TryAgain
            }
        }
    }

    async fn execute(&self, job: &Job, work: &WorkTerms) -> Result<WorkOutcome, InferenceError> {
        let request = ChatRequest {
            model: job.model.clone(),
            messages: vec![Message { role: Role::User, text: job.request.to_string() }],
            max_output_tokens: work.quote.tokens.max_output,
            deterministic: false,
        };
        let mut stream = self.ports.inference.stream(&request).await?;
        let mut text = String::new();
        while let Some(event) = stream.next().await {
            match event? {
                ChatEvent::Delta(delta) => {
                    // No store keeps U+0000 in a text, and no answer needs it.
                    let delta = if delta.contains('\0') { delta.replace('\0', "\u{FFFD}") } else { delta };
                    self.feed.add_text(job.id, job.lease.claims, &delta);
                    text.push_str(&delta);
                }
                ChatEvent::Finished { usage, .. } => {
                    let usage = usage.unwrap_or_else(|| self.count_usage(job, &text));
                    return Ok(WorkOutcome::Completed { text: text.into(), usage });
                }
            }
        }
        Err(InferenceError::Interrupted(None))
    }

    /// What a backend that did not say is taken to have used.
    fn count_usage(&self, job: &Job, text: &str) -> Usage {
        warn!("the backend did not report usage; it is counted");
        let tokenizer =
            self.ports.catalogue.model(&job.model).map_or(Tokenizer::Bytes, |model| model.tokenizer);
        Usage {
            input_tokens: tokenizer.count(&job.request),
            cached_input_tokens: 0,
            output_tokens: tokenizer.count(text),
        }
    }

    async fn work_end(&self, job: &Job, outcome: WorkOutcome) -> Step {
        match &outcome {
            WorkOutcome::Completed { usage, .. } => info!(?usage, "the work is done"),
            WorkOutcome::Failed { fault, .. } => info!(?fault, "the work has failed for good"),
        }
        self.write_down(
            |lease| Command::WorkFinish {
                job: job.id,
                identity: job.identity,
                lease,
                outcome: outcome.clone(),
            },
            job.lease,
        )
        .await
    }

    /// Tries the step again where that can help and attempts are left, or ends it.
    async fn again_or(&self, job: &Job, failure: &InferenceError, end: impl AsyncFnOnce() -> Step) -> Step {
        let hopeless = matches!(failure, InferenceError::Refused(_));
        if hopeless || job.lease.attempts >= self.settings.max_attempts {
            end().await
        } else {
            Step::TryAgain
        }
    }

    /// Commits the end of a step. A database that is away for a while costs no finished work: it is tried until somebody
    /// else holds the job.
    async fn write_down(&self, command: impl Fn(Lease) -> Command, lease: Lease) -> Step {
        let mut failures = 0;
        loop {
            match self.committer.commit(command(lease)).await {
                Ok(Answer::JobMoved(job)) => return Step::Goes(job),
                Ok(_) => return Step::Over,
                Err(CommitError::Refused(refusal @ Refusal::LeaseLost(_))) => {
                    warn!(%refusal, "the result is not written");
                    return Step::Over;
                }
                Err(CommitError::Refused(refusal)) => {
                    warn!(%refusal, "the result was refused");
                    return Step::TryAgain;
                }
                Err(CommitError::Failed) if failures >= COMMIT_FAILURES_MAX => {
                    warn!("the result cannot be written at all");
                    return Step::TryAgain;
                }
                Err(failure) => {
                    failures += u32::from(matches!(failure, CommitError::Failed));
                    warn!(%failure, "the result cannot be written yet");
                    tokio::time::sleep(COMMIT_AGAIN_AFTER).await;
                }
            }
        }
    }
}
