//! Where a database server is in the history of its cluster.

use crate::simple_query::row;
use std::fmt;
use tokio_postgres::{Client, Error};

/// Where in the history of a database cluster a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// The identifier that `initdb` has drawn. Physical copies share it.
    pub(crate) system: i64,
    /// Begins at 1; each promotion and each recovery to a point in time begins a higher one.
    pub(crate) timeline: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timeline {} of system {}", self.timeline, self.system)
    }
}

impl Position {
    /// Whether this is a later timeline of the same cluster.
    pub(crate) const fn is_newer_than(self, other: Self) -> bool {
        self.system == other.system && self.timeline > other.timeline
    }

    /// Reads where a server is; `None` if it is a standby.
    ///
    /// `pg_control_checkpoint()` shows the timeline of the last checkpoint, which a promoted standby takes only later.
    ///
    /// # Errors
    /// The database's, if it does not show it.
    pub(crate) async fn read(client: &Client) -> Result<Option<Self>, Error> {
        let columns = row(client, READ).await?;
        let [Some(system), Some(file)] = columns.as_slice() else { return Ok(None) };
        let timeline = file.get(..8).and_then(|timeline| u32::from_str_radix(timeline, 16).ok());
        Ok(system.parse().ok().zip(timeline).map(|(system, timeline)| Self { system, timeline }))
    }
}

const READ: &str = "\
    SELECT CASE WHEN NOT pg_is_in_recovery() THEN (SELECT system_identifier FROM pg_control_system()) END, \
    CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_lsn()) END";
