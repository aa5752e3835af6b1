//! What the SQL stores have in common: the tables, their rows, and which rows are of which kind.
//!
//! A row is the same on SQLite and on PostgreSQL; how it is locked, loaded and written is each store's own. This crate
//! connects to nothing and runs no statement.

pub mod copy;
pub mod kept_requests;
pub mod measurements;
pub mod payouts;
pub mod retention;
pub mod rows;
pub mod schema;
mod stored;
pub mod telemetry;
pub mod texts;
pub mod waiting_jobs;

pub use stored::Stored;
