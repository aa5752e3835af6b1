//! The tests, which run on every store.

mod bad_input;
mod bootstraps;
mod client_gone;
mod cors;
mod ends;
mod events;
mod faults;
mod flow;
mod free_tier;
mod garbage;
mod habits;
mod idempotency;
mod identity;
mod invoices;
mod limits;
mod nip98;
mod operations;
mod raw_requests;
mod scopes;
mod sessions;
mod tokens;
