//! The same on PostgreSQL.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod app;
mod cases;
mod shapes;
#[path = "store/postgres.rs"]
mod store;
