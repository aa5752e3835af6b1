//! Commands that are decided together.

use super::{Command, LockKeys};
use crate::rules::Rules;
use std::sync::Arc;
use tithe_clock::Timestamp;

/// Commands that are decided together, at one time.
#[derive(Debug, Clone)]
pub struct Batch(Arc<BatchParts>);

#[derive(Debug)]
struct BatchParts {
    commands: Vec<Command>,
    keys: LockKeys,
    now: Timestamp,
    rules: Arc<Rules>,
}

impl Batch {
    /// A batch of these commands, to be decided as of `now` by the rules that the design gives.
    #[must_use]
    pub fn new(commands: Vec<Command>, now: Timestamp) -> Self {
        Self::under(Arc::default(), commands, now)
    }

    /// A batch of these commands, to be decided as of `now` by these rules.
    #[must_use]
    pub fn under(rules: Arc<Rules>, commands: Vec<Command>, now: Timestamp) -> Self {
        let mut keys = LockKeys::default();
        for command in &commands {
            command.add_keys(&mut keys);
        }
        Self(Arc::new(BatchParts { commands, keys, now, rules }))
    }

    /// The rows to lock and load.
    #[must_use]
    pub fn keys(&self) -> &LockKeys {
        &self.0.keys
    }

    /// The commands, in the order in which they are decided.
    #[must_use]
    pub fn commands(&self) -> &[Command] {
        &self.0.commands
    }

    /// The time as of which they are decided.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.now
    }

    /// The rules by which they are decided.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.0.rules
    }
}
