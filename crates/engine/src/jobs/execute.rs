//! Doing a job's work.

use super::service::Jobs;
use super::step::{Step, commit_result};
use super::work_finish::{Fault, WorkFinish, WorkOutcome};
use super::worker::work_failed;
use crate::error_chain::chain;
use crate::inference::{self, ChatRequest, Message, Role};
use tithe_jobs::{Job, WorkTerms};
use tracing::{info, warn};

impl Jobs {
    pub(super) async fn execute(&self, job: &Job, work: &WorkTerms) -> Step {
        let attempt = job.lease.attempts;
        self.feed.begin_text(job.id, job.lease.claims);
        let request = ChatRequest {
            model: job.model.clone(),
            messages: vec![Message { role: Role::User, text: job.request.to_string() }],
            max_output_tokens: work.quote.tokens.max_output,
            deterministic: false,
        };
        let ports = &self.core.ports;
        let listen = |delta: &str| self.feed.add_text(job.id, job.lease.claims, delta);
        let answered = inference::run(ports.inference.as_ref(), &ports.catalogue, &request, Some(&listen));
        match tokio::time::timeout(self.core.settings.work_timeout, answered).await {
            Ok(Ok(answer)) => {
                let outcome = WorkOutcome::Completed { text: answer.text.into(), usage: answer.usage };
                self.work_end(job, outcome).await
            }
            Ok(Err(failure)) => {
                warn!(failure = chain(&failure), attempt, "the work failed");
                let refused = failure.is_refusal();
                if refused || attempt >= self.core.settings.max_attempts {
                    let fault = if refused { Fault::Request } else { Fault::Server };
                    return self.work_end(job, work_failed(fault)).await;
                }
                Step::TryAgain
            }
            Err(_elapsed) => {
                warn!(attempt, "the work timed out");
                Step::TryAgain
            }
        }
    }

    pub(super) async fn work_end(&self, job: &Job, outcome: WorkOutcome) -> Step {
        match &outcome {
            WorkOutcome::Completed { usage, .. } => info!(?usage, "work finished"),
            WorkOutcome::Failed { fault, .. } => info!(?fault, "work failed for good"),
        }
        let finish = WorkFinish { job: job.id, identity: job.identity, lease: job.lease, outcome };
        commit_result(&self.core.committer, finish, Step::Next).await
    }
}
