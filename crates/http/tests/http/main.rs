//! The API through the real router, the embedded store, the simulated wallet and the simulated backend.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod app;
mod cases;
mod shapes;
#[path = "store/sqlite.rs"]
mod store;
