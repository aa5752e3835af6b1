//! Commands that are decided together.

use super::command::{AnyCommand, AnyReply};
use super::refusal::Refusal;
use super::rows::{Changes, LoadedRows, RowKeys};
use super::state::Books;
use std::sync::Arc;
use tithe_clock::Timestamp;
use tithe_free_tier::Rules;
use tithe_jobs::JobChange;

/// Commands that are decided together, as of one time. Clones share everything.
#[derive(Debug, Clone)]
pub struct Batch(Arc<BatchParts>);

#[derive(Debug)]
struct BatchParts {
    commands: Vec<(AnyCommand, RowKeys)>,
    keys: RowKeys,
    now: Timestamp,
    rules: Arc<Rules>,
}

/// What became of a command.
pub type Outcome = Result<AnyReply, Refusal>;

/// What a batch has decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// One outcome for each command, in the order of the commands.
    pub outcomes: Vec<Outcome>,
    /// What to write.
    pub changes: Changes,
}

/// What a batch has done, once it is committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// One outcome for each command, in the order of the commands.
    pub outcomes: Vec<Outcome>,
    /// The steps that jobs have taken.
    pub job_changes: Vec<JobChange>,
}

impl Batch {
    /// A batch of these commands, to be decided as of `now` by the default rules.
    #[must_use]
    pub fn new(commands: Vec<AnyCommand>, now: Timestamp) -> Self {
        Self::under(Arc::default(), commands, now)
    }

    /// A batch of these commands, to be decided as of `now` by these rules.
    #[must_use]
    pub fn under(rules: Arc<Rules>, commands: Vec<AnyCommand>, now: Timestamp) -> Self {
        let mut keys = RowKeys::default();
        let declare = |command: AnyCommand| {
            let mut declared = RowKeys::default();
            command.declare(&mut declared);
            keys.extend(&declared);
            (command, declared)
        };
        let commands = commands.into_iter().map(declare).collect();
        Self(Arc::new(BatchParts { commands, keys, now, rules }))
    }

    /// The rows that a store must lock and load.
    #[must_use]
    pub fn keys(&self) -> &RowKeys {
        &self.0.keys
    }

    /// The commands, in the order in which they are decided.
    #[must_use]
    pub fn commands(&self) -> impl ExactSizeIterator<Item = &AnyCommand> {
        self.0.commands.iter().map(|(command, _)| command)
    }

    /// The time as of which they are decided.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.now
    }

    /// The rules by which they are decided.
    #[must_use]
    pub fn rules(&self) -> &Arc<Rules> {
        &self.0.rules
    }

    /// Decides every command in turn, each on the rows that those before it have left. A refused one leaves everything as it
    /// was.
    #[must_use]
    pub fn decide(&self, loaded: LoadedRows) -> Decided {
        let mut books = Books::new(loaded, &self.0.rules, self.now());
        let commands = self.0.commands.iter();
        let outcomes = commands.map(|(command, declared)| books.run(command, declared)).collect();
        Decided { outcomes, changes: books.into_changes() }
    }
}

impl<'b> Books<'b> {
    /// Decides a command. A refused one leaves everything as it was.
    fn run(&mut self, command: &AnyCommand, declared: &'b RowKeys) -> Outcome {
        self.rows.begin(declared);
        let outcome = command.decide(self);
        // Also if the command has ignored the error.
        let outcome = match self.rows.take_undeclared() {
            Some(undeclared) => Err(undeclared.into()),
            None => outcome,
        };
        if outcome.is_ok() {
            self.rows.accept();
        } else {
            self.rows.discard();
        }
        outcome
    }
}
