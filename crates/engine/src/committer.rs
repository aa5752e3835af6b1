//! The committer: concurrent commands meet here and are committed in batches.
//!
//! There is no timer. A batch is what arrived during the previous commit, so a lone caller waits for nobody. The queue is
//! bounded, and whoever finds it full is told at once.

use crate::commands::{Answer, Batch, Command, Outcome, Refusal};
use crate::feed::JobFeed;
use crate::rules::Rules;
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
    /// The database would not write it. Nothing has happened.
    #[error("the change could not be written")]
    Failed,
    /// The database went away while it committed: it has happened, or not. Read which.
    #[error("it is not known whether the change was written")]
    Unknown,
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
    pub fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        feed: Arc<JobFeed>,
        rules: Arc<Rules>,
    ) -> Self {
        let (queue, commands) = mpsc::channel(QUEUE_LIMIT);
        tokio::spawn(Writer { store, clock, feed, rules }.run(commands));
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
            // The writer is gone: the runtime shuts down.
            Err(_) => Err(CommitError::Unknown),
        }
    }
}

/// The database is away.
struct Away;

struct Writer {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    feed: Arc<JobFeed>,
    rules: Arc<Rules>,
}

impl Writer {
    async fn run(self, mut commands: mpsc::Receiver<Envelope>) {
        let mut waiting = Vec::with_capacity(BATCH_LIMIT);
        while commands.recv_many(&mut waiting, BATCH_LIMIT).await > 0 {
            if self.commit_apart(std::mem::take(&mut waiting)).await.is_err() {
                // Who came while the database was away has waited long enough to be told.
                while let Ok(envelope) = commands.try_recv() {
                    let _gone = envelope.reply.send(Err(CommitError::Busy));
                }
            }
        }
    }

    /// Commits a batch, and if one of its commands cannot be written, the others without it: in halves, and halves of the
    /// half that fails, so that a few tries find it. The order stays. Fails when the database is away.
    async fn commit_apart(&self, batch: Vec<Envelope>) -> Result<(), Away> {
        let (mut parts, mut outcome) = (vec![batch], Ok(()));
        while let Some(mut part) = parts.pop() {
            let commands: Vec<Command> = part.iter().map(|envelope| envelope.command.clone()).collect();
            match self.commit(commands).await {
                Ok(outcomes) => answer(part, outcomes.into_iter().map(Ok)),
                Err(StoreError::Unavailable(cause)) => {
                    warn!(commands = part.len(), cause = chain(&*cause), "the database is not available");
                    answer(part, std::iter::repeat_with(|| Err(CommitError::Busy)));
                    outcome = Err(Away);
                }
                Err(StoreError::OutcomeUnknown(cause)) => {
                    error!(
                        commands = part.len(),
                        cause = chain(&*cause),
                        "it is not known whether a batch was written"
                    );
                    answer(part, std::iter::repeat_with(|| Err(CommitError::Unknown)));
                }
                Err(cause) if part.len() > 1 => {
                    warn!(
                        commands = part.len(),
                        cause = chain(&cause),
                        "a batch failed; it is tried in two halves"
                    );
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                }
                Err(cause) => {
                    let command = part.first().map(|envelope| envelope.command.name());
                    error!(command, cause = chain(&cause), "a command failed");
                    answer(part, [Err(CommitError::Failed)].into_iter());
                }
            }
        }
        outcome
    }

    async fn commit(&self, commands: Vec<Command>) -> Result<Vec<Outcome>, StoreError> {
        let batch = Batch::under(self.rules.clone(), commands, self.clock.now());
        // In a task of its own, so that a store that panics ends this batch and not the committer.
        let (store, shared) = (self.store.clone(), batch.clone());
        let committing = tokio::spawn(async move { store.batch_commit(&shared).await });
        let committed =
            committing.await.map_err(|panicked| StoreError::OutcomeUnknown(Box::new(panicked)))??;
        for (command, outcome) in batch.commands().iter().zip(&committed.outcomes) {
            if let Err(refusal) = outcome {
                debug!(command = command.name(), %refusal, "a command was refused");
            }
        }
        self.feed.publish(&committed.job_changes);
        Ok(committed.outcomes)
    }
}

fn answer(envelopes: Vec<Envelope>, outcomes: impl Iterator<Item = Result<Outcome, CommitError>>) {
    for (envelope, outcome) in envelopes.into_iter().zip(outcomes) {
        // Whoever no longer listens finds the outcome in the store.
        let _gone = envelope.reply.send(outcome);
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
