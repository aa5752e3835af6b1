//! The servers that run on one database.

use tithe_clock::Timestamp;
use uuid::Uuid;

/// A server that runs on the database, or ran until recently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerRecord {
    /// The id of its process.
    pub id: Uuid,
    /// Its name for the operator: its machine, and the address that it listens on.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What all servers must share, as JSON ([`crate::servers::SharedSettings`]). Stores keep it as it is: another version of the
    /// program may have written it.
    pub settings: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When it last wrote this record, by its own clock.
    pub seen_at: Timestamp,
}
