//! The steps of a worker.

use crate::books::{Command, Refusal};
use crate::committer::{CommitError, Committer};
use crate::error_chain::chain;
use std::time::Duration;
use tithe_jobs::Job;
use tracing::warn;

/// How long a finished worker waits before it tries again to commit its result, and how often the database may refuse the
/// result itself. An unavailable database is waited for without limit.
const COMMIT_RETRY_INTERVAL: Duration = Duration::from_millis(200);
const COMMIT_FAILURES_MAX: u32 = 10;

/// What a worker does next with a job.
pub(super) enum Step {
    /// Nothing: the job waits for something else.
    Over,
    /// Nothing: another worker has taken the job over, and the result was dropped.
    Lost,
    /// The next step, with the job as it is now.
    Next(Box<Job>),
    /// The same step again, after a while.
    TryAgain,
    /// The step was not tried: the job is given back as it was, and rests for this long.
    HandBack(Duration),
}

impl Step {
    /// Whether the result of the step was written.
    pub(super) const fn is_committed(&self) -> bool {
        matches!(self, Self::Over | Self::Next(_))
    }
}

/// Commits the end of a step. A database that is unavailable for a while costs no finished work: the commit is retried until
/// another worker holds the job.
pub(super) async fn commit_result<C: Command + Clone>(
    committer: &Committer,
    command: C,
    next: impl Fn(C::Reply) -> Step,
) -> Step {
    let mut failures = 0;
    loop {
        match committer.commit(command.clone()).await {
            Ok(reply) => return next(reply),
            Err(CommitError::Refused(refusal @ Refusal::LeaseLost { .. })) => {
                warn!(%refusal, "result dropped");
                return Step::Lost;
            }
            Err(CommitError::Refused(refusal)) => {
                warn!(%refusal, "result refused");
                return Step::TryAgain;
            }
            Err(CommitError::Failed) if failures >= COMMIT_FAILURES_MAX => {
                warn!(attempt = failures, "the result cannot be committed");
                return Step::TryAgain;
            }
            Err(failure) => {
                failures += u32::from(matches!(failure, CommitError::Failed));
                warn!(error = chain(&failure), "the result is not committed yet");
                tokio::time::sleep(COMMIT_RETRY_INTERVAL).await;
            }
        }
    }
}
