//! The settings of the database.

use std::time::Duration;

/// The settings of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostgresSettings {
    /// The size of the pool. There are two more connections: one writes batches, one listens.
    pub connections: u32,
    /// How long an operation is retried, over lost connections and restarts, before it fails because the database is
    /// unavailable; also how long it waits for a connection of the pool.
    pub patience: Duration,
    /// How long one statement may run.
    pub statement_timeout: Duration,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self { connections: 8, patience: Duration::from_secs(5), statement_timeout: Duration::from_secs(10) }
    }
}

impl PostgresSettings {
    /// How long the answer to one statement is waited for. The database ends the statement earlier, unless it is frozen or cut off.
    pub(crate) fn answer_deadline(&self) -> Duration {
        self.statement_timeout + Duration::from_secs(1)
    }
}
