//! The committer: concurrent commands meet here and are committed in batches.
//!
//! There is no timer. A batch is what arrived during the previous commit, so a single caller never waits for others. The
//! queue is bounded; a command that finds it full fails at once.

use crate::books::{AnyCommand, AnyReply, Batch, Command, Outcome, Refusal, Rules};
use crate::error_chain::chain;
use crate::store::{Store, StoreError};
use crate::telemetry::{self, count};
use metrics::{counter, gauge, histogram};
use std::sync::Arc;
use tithe_clock::Clock;
use tithe_jobs::JobChange;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{Instrument, debug, debug_span, error, warn};

/// The most commands in one batch.
const BATCH_LIMIT: usize = 256;

/// The most commands that may wait for the next batch.
const QUEUE_LIMIT: usize = 4_096;

/// Why a command did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// It was decided, and refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many commands are waiting, or the database is not available. Nothing has happened.
    #[error("the server is too busy")]
    Busy,
    /// The command has a bug, or the database refused to write it. Nothing has happened.
    #[error("the change could not be written")]
    Failed,
    /// The database went away during the commit: the change was made, or it was not. Read which.
    #[error("it is not known whether the change was written")]
    Unknown,
}

/// Learns of committed steps of jobs.
pub trait CommitListener: Send + Sync {
    /// These steps have been committed.
    fn committed(&self, changes: &[JobChange]);
}

/// Listens to nothing.
impl CommitListener for () {
    fn committed(&self, _changes: &[JobChange]) {}
}

struct Envelope {
    command: AnyCommand,
    reply: oneshot::Sender<Result<Outcome, CommitError>>,
}

/// Takes commands and commits them. Clones share one queue.
#[derive(Clone)]
pub struct Committer {
    queue: mpsc::Sender<Envelope>,
}

impl Committer {
    /// Starts the committer on the current runtime. It ends when its last clone is dropped, after the queued commands.
    #[must_use]
    pub fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        rules: Arc<Rules>,
        listener: Arc<dyn CommitListener>,
    ) -> Self {
        let (queue, commands) = mpsc::channel(QUEUE_LIMIT);
        tokio::spawn(Writer { store, clock, rules, listener }.run(commands));
        Self { queue }
    }

    /// Commits a command, together with whatever else is waiting. Once queued, the command happens even if the caller stops
    /// waiting for the reply.
    ///
    /// # Errors
    /// [`CommitError`].
    pub async fn commit<C: Command>(&self, command: C) -> Result<C::Reply, CommitError> {
        let reply = self.commit_any(command.into()).await?;
        reply.downcast().ok_or_else(|| {
            error!(command = C::NAME, "the store returned the reply of another command");
            CommitError::Unknown
        })
    }

    /// Commits a command of any type.
    ///
    /// # Errors
    /// [`CommitError`].
    pub async fn commit_any(&self, command: AnyCommand) -> Result<AnyReply, CommitError> {
        let (reply, outcome) = oneshot::channel();
        self.queue.try_send(Envelope { command, reply }).map_err(|_| {
            counter!(telemetry::COMMIT_QUEUE_FULL).increment(1);
            CommitError::Busy
        })?;
        match outcome.await {
            Ok(Ok(Ok(reply))) => Ok(reply),
            // The cause is in the log; it is a bug, and no business of the caller's.
            Ok(Ok(Err(Refusal::Undeclared(_)))) => Err(CommitError::Failed),
            Ok(Ok(Err(refusal))) => Err(refusal.into()),
            Ok(Err(failure)) => Err(failure),
            // The writer is gone: the runtime is shutting down.
            Err(_) => Err(CommitError::Unknown),
        }
    }
}

/// The database is not available.
struct Unavailable;

struct Writer {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    rules: Arc<Rules>,
    listener: Arc<dyn CommitListener>,
}

impl Writer {
    async fn run(self, mut commands: mpsc::Receiver<Envelope>) {
        let mut waiting = Vec::with_capacity(BATCH_LIMIT);
        let queue = gauge!(telemetry::COMMIT_QUEUE);
        gauge!(telemetry::COMMIT_QUEUE_LIMIT).set(count(QUEUE_LIMIT));
        while commands.recv_many(&mut waiting, BATCH_LIMIT).await > 0 {
            queue.set(count(commands.len()));
            if self.commit_apart(std::mem::take(&mut waiting)).await.is_err() {
                // Fail the commands that queued up during the outage: they have waited long enough.
                while let Ok(envelope) = commands.try_recv() {
                    reply(vec![envelope], [Err(CommitError::Busy)].into_iter());
                }
            }
        }
    }

    /// Commits a batch. If one of its commands cannot be written, the others are committed without it: the batch is split in
    /// halves, and the failing half again, so that a few tries isolate the command. The order of the commands is kept. Fails
    /// when the database is not available.
    async fn commit_apart(&self, batch: Vec<Envelope>) -> Result<(), Unavailable> {
        let (mut parts, mut outcome) = (vec![batch], Ok(()));
        while let Some(mut part) = parts.pop() {
            let commands = part.iter().map(|envelope| envelope.command.clone()).collect();
            match self.commit(commands).await {
                Ok(outcomes) => reply(part, outcomes.into_iter().map(Ok)),
                Err(StoreError::Unavailable(cause)) => {
                    warn!(commands = part.len(), error = chain(&*cause), "the database is not available");
                    reply(part, std::iter::repeat_with(|| Err(CommitError::Busy)));
                    outcome = Err(Unavailable);
                }
                Err(StoreError::OutcomeUnknown(cause)) => {
                    error!(
                        commands = part.len(),
                        error = chain(&*cause),
                        "it is not known whether a batch was written"
                    );
                    reply(part, std::iter::repeat_with(|| Err(CommitError::Unknown)));
                }
                Err(cause) if part.len() > 1 => {
                    warn!(
                        commands = part.len(),
                        error = chain(&cause),
                        "a batch failed and is tried again in two halves"
                    );
                    let second = part.split_off(part.len() / 2);
                    counter!(telemetry::COMMIT_SPLITS).increment(1);
                    parts.extend([second, part]);
                }
                Err(cause) => {
                    let command = part.first().map(|envelope| envelope.command.name());
                    error!(command, error = chain(&cause), "a command could not be written");
                    reply(part, [Err(CommitError::Failed)].into_iter());
                }
            }
        }
        outcome
    }

    async fn commit(&self, commands: Vec<AnyCommand>) -> Result<Vec<Outcome>, StoreError> {
        let batch = Batch::under(self.rules.clone(), commands, self.clock.now());
        // In a task of its own, so that a panic in the store ends this batch and not the committer.
        let (store, shared) = (self.store.clone(), batch.clone());
        let began = Instant::now();
        histogram!(telemetry::COMMIT_BATCH).record(count(batch.commands().len()));
        let span = debug_span!("commit", commands = batch.commands().len());
        let committing = async move { store.batch_commit(&shared).await };
        let committing = tokio::spawn(committing.instrument(span));
        let committed =
            committing.await.map_err(|panicked| StoreError::OutcomeUnknown(Box::new(panicked)))??;
        histogram!(telemetry::COMMIT_SECONDS).record(began.elapsed());
        for step in &committed.job_changes {
            counter!(telemetry::JOB_STEPS, "state" => step.state.as_str()).increment(1);
        }
        for (command, outcome) in batch.commands().zip(&committed.outcomes) {
            match outcome {
                Ok(_) => {}
                Err(bug @ Refusal::Undeclared(_)) => {
                    error!(command = command.name(), error = %bug, "a command has a bug");
                }
                Err(refusal) => debug!(command = command.name(), %refusal, "a command was refused"),
            }
        }
        self.listener.committed(&committed.job_changes);
        Ok(committed.outcomes)
    }
}

fn reply(envelopes: Vec<Envelope>, outcomes: impl Iterator<Item = Result<Outcome, CommitError>>) {
    for (envelope, outcome) in envelopes.into_iter().zip(outcomes) {
        counter!(telemetry::COMMANDS, "command" => envelope.command.name(), "outcome" => label(&outcome))
            .increment(1);
        // A caller that no longer waits can read the outcome from the store.
        let _receiver_gone = envelope.reply.send(outcome);
    }
}

/// The name of an outcome, for metrics.
const fn label(outcome: &Result<Outcome, CommitError>) -> &'static str {
    match outcome {
        Ok(Ok(_)) => "done",
        Ok(Err(Refusal::Undeclared(_))) | Err(CommitError::Failed) => "failed",
        Ok(Err(_)) | Err(CommitError::Refused(_)) => "refused",
        Err(CommitError::Busy) => "busy",
        Err(CommitError::Unknown) => "unknown",
    }
}
