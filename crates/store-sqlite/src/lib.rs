//! The embedded store: SQLite through diesel, nothing to install.
//!
//! One writer connection and several readers on a database in WAL mode, `synchronous=FULL`: what was acknowledged is on
//! disk. Each operation runs as one piece on a blocking thread, so a dropped future cuts nothing in half. Writing
//! transactions begin `IMMEDIATE`. The store locks, loads and writes; it decides nothing.

mod audit;
mod batch;
mod connection;
mod fault;
mod reads;
mod tables;

pub use connection::{OpenError, SqliteSettings, SqliteStore, Synchronous};
