//! The committer: concurrent commands meet here and are committed in batches.
//!
//! There is no timer. A batch is what arrived during the previous commit, so a lone caller waits for nobody. The queue is
//! bounded, and whoever finds it full is told at once.

use crate::commands::{Answer, Batch, Command, Outcome, Refusal};
use crate::feed::JobFeed;
use crate::store::{Store, StoreError};
use std::sync::Arc;
use tithe_clock::Clock;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, warn};

/// How many commands one batch takes at most.
const BATCH_LIMIT: usize = 256;

/// How many commands may wait for the next batch.
const QUEUE_LIMIT: usize = 4_096;

/// Why a command did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// It was decided, and refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many commands wait already, or the database is not available. Nothing has happened.
    #[error("the server is too busy")]
    Busy,
    /// The database failed, or its answer was lost on the way: read whether it has happened.
    #[error("the change could not be written")]
    Failed,
}

struct Envelope {
    command: Command,
    reply: oneshot::Sender<Result<Outcome, CommitError>>,
}

/// Takes commands and commits them. Clones share one queue.
#[derive(Clone)]
pub struct Committer {
    queue: mpsc::Sender<Envelope>,
}

impl Committer {
    /// Starts the committer on the current runtime. It ends when its last clone is gone, after what is queued.
    #[must_use]
    pub fn start(store: Arc<dyn Store>, clock: Arc<dyn Clock>, feed: Arc<JobFeed>) -> Self {
        let (queue, commands) = mpsc::channel(QUEUE_LIMIT);
        tokio::spawn(Writer { store, clock, feed }.run(commands));
        Self { queue }
    }

    /// Commits one command, together with whatever else is waiting. Once queued it happens whether or not the caller goes
    /// on waiting for the answer.
    ///
    /// # Errors
    /// [`CommitError`].
    pub async fn commit(&self, command: Command) -> Result<Answer, CommitError> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Envelope { command, reply }).map_err(|_| CommitError::Busy)?;
        match answer.await {
            Ok(outcome) => Ok(outcome??),
            // The writer is gone: it panicked, or the runtime shuts down. It answers only after a commit.
            Err(_) => Err(CommitError::Failed),
        }
    }
}

struct Writer {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    feed: Arc<JobFeed>,
}

impl Writer {
    async fn run(self, mut commands: mpsc::Receiver<Envelope>) {
        let mut waiting = Vec::with_capacity(BATCH_LIMIT);
        while commands.recv_many(&mut waiting, BATCH_LIMIT).await > 0 {
            let (batch, replies): (Vec<_>, Vec<_>) =
                waiting.drain(..).map(|envelope| (envelope.command, envelope.reply)).unzip();
            match self.commit(batch.clone()).await {
                Ok(outcomes) => answer(replies, outcomes.into_iter().map(Ok)),
                Err(StoreError::Unavailable(cause)) => {
                    warn!(commands = replies.len(), %cause, "the database is not available");
                    answer(replies, std::iter::repeat_with(|| Err(CommitError::Busy)));
                }
                Err(cause) if replies.len() == 1 => {
                    error!(command = ?batch.first().map(Command::name), cause = chain(&cause), "a command failed");
                    answer(replies, [Err(CommitError::Failed)].into_iter());
                }
                Err(cause) => {
                    warn!(
                        commands = replies.len(),
                        cause = chain(&cause),
                        "a batch failed; its commands are tried singly"
                    );
                    self.commit_singly(batch, replies).await;
                }
            }
        }
    }

    async fn commit(&self, commands: Vec<Command>) -> Result<Vec<Outcome>, StoreError> {
        let batch = Batch::new(commands, self.clock.now());
        // In a task of its own, so that a store that panics ends this batch and not the committer.
        let (store, shared) = (self.store.clone(), batch.clone());
        let committing = tokio::spawn(async move { store.batch_commit(&shared).await });
        let committed = committing.await.map_err(|panicked| StoreError::Failed(Box::new(panicked)))??;
        for (command, outcome) in batch.commands().iter().zip(&committed.outcomes) {
            if let Err(refusal) = outcome {
                debug!(command = command.name(), %refusal, "a command was refused");
            }
        }
        self.feed.publish(&committed.job_changes);
        Ok(committed.outcomes)
    }

    /// One command of the batch cannot be written: the others must not suffer for it.
    async fn commit_singly(
        &self,
        batch: Vec<Command>,
        replies: Vec<oneshot::Sender<Result<Outcome, CommitError>>>,
    ) {
        for (command, reply) in batch.into_iter().zip(replies) {
            let name = command.name();
            let outcome = match self.commit(vec![command]).await {
                Ok(mut outcomes) => outcomes.pop().ok_or(CommitError::Failed),
                Err(StoreError::Unavailable(_)) => Err(CommitError::Busy),
                Err(cause) => {
                    error!(command = name, cause = chain(&cause), "a command failed");
                    Err(CommitError::Failed)
                }
            };
            let _gone = reply.send(outcome);
        }
    }
}

fn answer(
    replies: Vec<oneshot::Sender<Result<Outcome, CommitError>>>,
    outcomes: impl Iterator<Item = Result<Outcome, CommitError>>,
) {
    for (reply, outcome) in replies.into_iter().zip(outcomes) {
        // Whoever no longer listens finds the outcome in the store.
        let _gone = reply.send(outcome);
    }
}

/// An error with all its causes, for the log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
