//! The embedded store: SQLite through diesel, nothing to install.
//!
//! It uses one writer connection and several readers on a database in WAL mode with `synchronous=FULL`: acknowledged
//! writes are on disk. Each operation runs as a whole on a blocking thread, so dropping a future interrupts nothing.
//! Write transactions begin `IMMEDIATE`. The store locks, loads and writes; it makes no decisions.

mod audit;
mod backup;
mod batch;
mod connection;
mod copy;
mod fault;
mod files;
mod integrity;
mod lock;
mod reads;
mod replacement;
mod restore;
mod retention;
mod tables;
mod texts;

pub use backup::BackupError;
pub use connection::{OpenError, SqliteSettings, SqliteStore, Synchronous};
pub use copy::SqliteTables;
pub use lock::{Exclusive, LockError};
pub use restore::{RestoreError, Staged};
