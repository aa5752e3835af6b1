//! A server's store: the shared one, behind the server's power and what is made to go wrong with it.

use super::calls::{Call, Port};
use super::power::{Op, Power, When};
use super::{Gate, backend::GateEnd};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tithe_engine::books::{AnyCommand, Batch, Committed};
use tithe_engine::records::IdempotencyId;
use tithe_engine::store::{Store, StoreError};
use tithe_jobs::Job;
use tithe_store_suite::command::Command;
use tithe_store_suite::layered::StoreLayer;

/// What goes wrong with the store, for all servers.
#[derive(Default)]
pub struct StoreFaults {
    away: AtomicBool,
    /// What the next commits that hold such a command fail with, before anything is written.
    commits: Mutex<VecDeque<(&'static str, Failure)>>,
    /// The next commit of such a command waits.
    gates: Mutex<VecDeque<(&'static str, GateEnd)>>,
    /// The next reading of a job's steps waits after it has read.
    changes_gate: Mutex<Option<GateEnd>>,
}

#[derive(Debug, Clone, Copy)]
enum Failure {
    Unavailable,
    Failed,
    /// The answer is lost; the commit itself happens, or not.
    Lost {
        happens: bool,
    },
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("the test took it away".into())
}

impl StoreFaults {
    /// Every call fails as unavailable until [`StoreFaults::mend`].
    pub fn take_away(&self) {
        self.away.store(true, Ordering::SeqCst);
    }

    pub fn mend(&self) {
        self.away.store(false, Ordering::SeqCst);
        self.commits.lock().unwrap().clear();
    }

    /// The next `count` commits with a command of that name find the database gone.
    pub fn commits_unavailable(&self, command: &'static str, count: usize) {
        self.commits.lock().unwrap().extend(std::iter::repeat_n((command, Failure::Unavailable), count));
    }

    /// The next `count` commits with a command of that name fail.
    pub fn commits_fail(&self, command: &'static str, count: usize) {
        self.commits.lock().unwrap().extend(std::iter::repeat_n((command, Failure::Failed), count));
    }

    /// The next commit with a command of that name happens, or not, and nobody learns which.
    pub fn commit_lost(&self, command: &'static str, happens: bool) {
        self.commits.lock().unwrap().push_back((command, Failure::Lost { happens }));
    }

    /// How many failures are still to come.
    pub fn to_come(&self) -> usize {
        self.commits.lock().unwrap().len()
    }

    /// Stops the next commit with a command of that name, before it happens.
    pub fn gate_commit(&self, command: &'static str) -> Gate {
        let (gate, end) = Gate::pair();
        self.gates.lock().unwrap().push_back((command, end));
        gate
    }

    /// Stops the next reading of a job's steps, after it has read and before it answers.
    pub fn gate_changes(&self) -> Gate {
        let (gate, end) = Gate::pair();
        *self.changes_gate.lock().unwrap() = Some(end);
        gate
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.away.load(Ordering::SeqCst) { Err(unavailable()) } else { Ok(()) }
    }

    /// Commits with what is to go wrong.
    async fn commit(&self, batch: &Batch, store: &dyn Store) -> Result<Committed, StoreError> {
        self.check()?;
        let has = |name: &str| batch.commands().any(|command| name_of(command) == name);
        let gate = take(&mut self.gates.lock().unwrap(), has);
        if let Some(gate) = gate {
            gate.pass().await;
        }
        let failure = take(&mut self.commits.lock().unwrap(), has);
        match failure {
            Some(Failure::Unavailable) => Err(unavailable()),
            Some(Failure::Failed) => Err(StoreError::Failed("the test broke it".into())),
            Some(Failure::Lost { happens }) => {
                if happens {
                    store.batch_commit(batch).await?;
                }
                Err(StoreError::OutcomeUnknown("the test lost the answer".into()))
            }
            None => store.batch_commit(batch).await,
        }
    }
}

/// The name of a command of the engine's, or of a test's.
fn name_of(command: &AnyCommand) -> &'static str {
    command.downcast::<Command>().map_or_else(|| command.name(), Command::name)
}

fn take<T>(queue: &mut VecDeque<(&'static str, T)>, has: impl Fn(&str) -> bool) -> Option<T> {
    let at = queue.iter().position(|(name, _)| has(name))?;
    queue.remove(at).map(|(_, what)| what)
}

/// Any store.
pub struct AnyStore(pub Arc<dyn Store>);

impl StoreLayer for AnyStore {
    fn inner(&self) -> &dyn Store {
        self.0.as_ref()
    }
}

/// What stands between a server and the shared store.
pub struct ServerLayer {
    pub inner: Arc<dyn Store>,
    pub faults: Arc<StoreFaults>,
    pub power: Arc<Power>,
}

impl StoreLayer for ServerLayer {
    fn inner(&self) -> &dyn Store {
        self.inner.as_ref()
    }

    async fn pass<T: Send>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let checked = async {
            self.faults.check()?;
            call.await
        };
        self.power.through(Op::Other, checked).await
    }

    async fn batch_commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        let named = |command| Call { port: Port::Database, name: name_of(command) };
        let calls: Vec<Call> = batch.commands().map(named).collect();
        let work = self.faults.commit(batch, self.inner.as_ref());
        self.power.calls(Op::Commit, &calls, std::convert::identity, work).await
    }

    async fn after_job_changes(&self) {
        let gate = self.faults.changes_gate.lock().unwrap().take();
        if let Some(gate) = gate {
            gate.pass().await;
        }
    }

    async fn after_jobs_claim(&self, claimed: &[Job]) {
        if !claimed.is_empty() {
            self.power.pass(Op::Claim, self.power.count(Op::Claim), When::After).await;
        }
    }
}

/// A key of the customer's.
pub fn key(text: &str) -> IdempotencyId {
    IdempotencyId { scope: "test".to_owned(), key: text.to_owned() }
}
