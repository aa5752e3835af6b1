//! What the stores that speak SQL have in common: the tables, and what their rows mean.
//!
//! A row is the same on SQLite and on PostgreSQL; how it is locked, loaded and written is each store's own. This crate
//! connects to nothing and runs no statement.

pub mod rows;
pub mod schema;
