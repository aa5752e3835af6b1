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
mod refunds;
mod refunds_of_sessions;
mod refunds_refused;
mod refunds_to_addresses;
mod scopes;
mod sessions;
mod solvency;
mod tokens;
