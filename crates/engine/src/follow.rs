//! Following a job: its steps, and its text as it comes.

use crate::feed::Follow;
use crate::relay::ASK_EVERY;
use crate::{Engine, EngineError, JobView};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tithe_jobs::{JobChange, JobId, JobState};
use tokio::time::Instant;

/// How long a follower waits before it looks at the store by itself, should nobody have told it of a step. Steps of other
/// servers are told by the store, and so is that something was missed: this is what is left when all else fails.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// How far a follower has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobCursor {
    /// The revision of the last step seen.
    pub revision: u32,
    /// The attempt whose text was read; 0 for none.
    pub attempt: u32,
    /// How many bytes of that text.
    pub offset: usize,
}

/// Something new about a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobUpdate {
    /// A step.
    Step {
        /// The step.
        change: JobChange,
        /// The job as it is now, which may be further on; what it knew at the step it still knows.
        view: Box<JobView>,
    },
    /// More text of the attempt that the cursor names. Another attempt than before begins anew.
    Text(String),
}

/// Follows one job. Ends after its last step.
pub struct JobFollower {
    engine: Arc<Engine>,
    job: JobId,
    follow: Follow,
    cursor: JobCursor,
    steps: VecDeque<JobChange>,
    view: Option<JobView>,
    /// Whether to look at the store though nobody has said that there is something new.
    look: bool,
    /// When the store was last looked at.
    looked: Instant,
    over: bool,
}

impl Engine {
    /// Follows a job from `cursor` on.
    ///
    /// # Errors
    /// [`EngineError::NoSuchJob`].
    pub async fn job_follow(
        self: &Arc<Self>,
        job: JobId,
        cursor: JobCursor,
    ) -> Result<JobFollower, EngineError> {
        let follow = self.feed.follow(job);
        let view = self.job_view(job).await?;
        // A cursor of the future, which nobody was given, means the present.
        let cursor = JobCursor { revision: cursor.revision.min(view.job.revision), ..cursor };
        let over = view.job.state.name().is_terminal() && view.job.revision <= cursor.revision;
        let engine = Arc::clone(self);
        let (view, looked) = (Some(view), Instant::now());
        Ok(JobFollower {
            engine,
            job,
            follow,
            cursor,
            steps: VecDeque::new(),
            view,
            look: true,
            looked,
            over,
        })
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
            let (known, missed) = (self.follow.revision(), self.follow.missed());
            if self.steps.is_empty() && (self.look || known > self.cursor.revision) {
                self.load().await?;
                self.look = false;
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
            // A step that was committed while the store was being read has spent its wake-up on us.
            if self.follow.revision() != known {
                continue;
            }
            let asked = self.ask_for_text().await;
            if self.follow.missed() != missed || self.looked.elapsed() >= LOOK_AGAIN_AFTER {
                self.look = true;
                continue;
            }
            let patience = if asked { ASK_EVERY } else { LOOK_AGAIN_AFTER };
            // Text alone is no reason to look at the store.
            let _changed_or_late = tokio::time::timeout(patience, self.follow.changed()).await;
        }
        Ok(None)
    }

    /// Asks other servers for the text, if the work runs on one of them; says whether it does.
    async fn ask_for_text(&mut self) -> bool {
        let executing = |view: &JobView| matches!(view.job.state, JobState::Executing { .. });
        if !self.view.as_ref().is_some_and(executing) {
            return false;
        }
        let Some(known) = self.follow.known_from_elsewhere() else { return false };
        if self.follow.asks_now(Instant::now(), ASK_EVERY) {
            self.engine.text_ask(self.job, known).await;
        }
        true
    }

    async fn load(&mut self) -> Result<(), EngineError> {
        self.looked = Instant::now();
        let changes = self.engine.ports.store.job_changes(self.job, self.cursor.revision).await?;
        if !changes.is_empty() {
            self.view = Some(self.engine.job_view_as_stored(self.job).await?);
        }
        self.steps = changes.into();
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
