//! The same tests on PostgreSQL.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod app;
mod cases;
mod shapes;
#[path = "store/postgres.rs"]
mod store;
