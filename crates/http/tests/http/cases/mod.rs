//! What holds on every store.

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
