//! The API through the real router, a real store, the simulated wallet and the simulated backend.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod app;
mod bad_input;
mod client_gone;
mod cors;
mod ends;
mod events;
mod faults;
mod flow;
mod garbage;
mod idempotency;
mod invoices;
mod operations;
mod raw_requests;
mod shapes;
