//! Following a job: its steps, and its text as it is generated.

use super::feed::Follow;
use super::relay::REQUEST_INTERVAL;
use super::service::Jobs;
use super::view::JobView;
use crate::error::EngineError;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tithe_jobs::{JobChange, JobId, JobState};
use tokio::time::Instant;

/// How long a follower waits for a notification before it reads the store. The store sends notifications of other servers'
/// steps, and says when some may have been lost: this is the last resort.
const READ_INTERVAL: Duration = Duration::from_secs(30);

/// How far a follower has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobCursor {
    /// The revision of the last step seen.
    pub revision: u32,
    /// The attempt whose text was read; 0 for none.
    pub attempt: u32,
    /// How many bytes of that text were read.
    pub offset: usize,
}

/// Something new about a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobUpdate {
    /// A step.
    Step {
        /// The step.
        change: JobChange,
        /// The job as it is now. It may have taken further steps, but it has all that this step added.
        view: Box<JobView>,
    },
    /// More text of the attempt that the cursor names. The text of another attempt than before begins anew.
    Text(String),
}

/// Follows one job. Ends after the job's last step.
pub struct JobFollower {
    jobs: Arc<Jobs>,
    job: JobId,
    follow: Follow,
    cursor: JobCursor,
    steps: VecDeque<JobChange>,
    view: Option<JobView>,
    /// Whether to read the store although there was no notification.
    read: bool,
    /// When the store was last read.
    read_at: Instant,
    over: bool,
}

impl Jobs {
    /// Follows a job from `cursor` on.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn follow(self: &Arc<Self>, job: JobId, cursor: JobCursor) -> Result<JobFollower, EngineError> {
        let follow = self.feed.follow(job);
        let view = self.view(job).await?;
        // A cursor of the future, which nobody was given, means the present.
        let cursor = JobCursor { revision: cursor.revision.min(view.job.revision), ..cursor };
        let over = view.job.state.name().is_terminal() && view.job.revision <= cursor.revision;
        let (jobs, steps, view) = (Arc::clone(self), VecDeque::new(), Some(view));
        Ok(JobFollower { jobs, job, follow, cursor, steps, view, read: true, read_at: Instant::now(), over })
    }
}

impl JobFollower {
    /// Whether nothing more will come.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// What is new, with the cursor that resumes after it; `None` after the job's last step. Safe to drop and call again.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer.
    pub async fn next(&mut self) -> Result<Option<(JobCursor, JobUpdate)>, EngineError> {
        while !self.over {
            let (known, resyncs) = (self.follow.revision(), self.follow.resyncs());
            if self.steps.is_empty() && (self.read || known > self.cursor.revision) {
                self.load().await?;
                self.read = false;
            }
            let ends = self.steps.front().is_some_and(|change| change.state.is_terminal());
            if (self.steps.is_empty() || ends)
                && let Some(update) = self.more_text()
            {
                return Ok(Some(update));
            }
            if let Some(update) = self.next_step() {
                return Ok(Some(update));
            }
            // A step that was committed while the store was being read has already woken this follower.
            if self.follow.revision() != known {
                continue;
            }
            let requested = self.request_text().await;
            if self.follow.resyncs() != resyncs || self.read_at.elapsed() >= READ_INTERVAL {
                self.read = true;
                continue;
            }
            let patience = if requested { REQUEST_INTERVAL } else { READ_INTERVAL };
            // New text alone is no reason to read the store.
            let _changed_or_late = tokio::time::timeout(patience, self.follow.changed()).await;
        }
        Ok(None)
    }

    /// Requests the text from other servers, if the work runs on one of them; returns whether it does.
    async fn request_text(&mut self) -> bool {
        let executing = |view: &JobView| matches!(view.job.state, JobState::Executing { .. });
        if !self.view.as_ref().is_some_and(executing) {
            return false;
        }
        let Some(known) = self.follow.known_from_peer() else { return false };
        if self.follow.requests_now(Instant::now(), REQUEST_INTERVAL) {
            self.jobs.text_request(self.job, known).await;
        }
        true
    }

    async fn load(&mut self) -> Result<(), EngineError> {
        self.read_at = Instant::now();
        let changes = self.jobs.core.ports.store.job_changes(self.job, self.cursor.revision).await?;
        if !changes.is_empty() || self.read {
            self.view = Some(self.jobs.view_as_stored(self.job).await?);
        }
        self.steps = changes.into();
        // The steps of a job are deleted long after its end; then its last one is what can be told.
        let ended = self.view.as_ref().map(|view| &view.job).filter(|job| job.state.name().is_terminal());
        if let Some(job) = ended
            && self.steps.is_empty()
            && job.revision > self.cursor.revision
        {
            let (job, revision, state, at) = (job.id, job.revision, job.state.name(), job.updated_at);
            self.steps.push_back(JobChange { job, revision, state, at });
        }
        Ok(())
    }

    fn next_step(&mut self) -> Option<(JobCursor, JobUpdate)> {
        let view = self.view.clone()?;
        let change = self.steps.pop_front()?;
        self.cursor.revision = change.revision;
        self.over = self.steps.is_empty() && change.state.is_terminal();
        Some((self.cursor, JobUpdate::Step { change, view: Box::new(view) }))
    }

    fn more_text(&mut self) -> Option<(JobCursor, JobUpdate)> {
        let (attempt, text) = self.follow.text_from(self.cursor.attempt, self.cursor.offset);
        if text.is_empty() {
            return None;
        }
        let read = if attempt == self.cursor.attempt { self.cursor.offset } else { 0 };
        self.cursor = JobCursor { attempt, offset: read + text.len(), ..self.cursor };
        Some((self.cursor, JobUpdate::Text(text)))
    }
}
