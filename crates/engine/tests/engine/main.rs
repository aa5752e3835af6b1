//! The engine through its use cases, on a memory store, a simulated wallet and a simulated backend that can all be made to
//! misbehave. Time is virtual unless a test says otherwise: what waits costs nothing.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails; the exemption for tests does not reach their helpers"
)]

mod scene;

mod admission;
mod asks;
mod asks_crashes;
mod attempts;
mod backend_health;
mod bootstraps;
mod costs;
mod crashes;
mod deposits;
mod fault_columns;
mod fencing;
mod following;
mod free_tier;
mod growth;
mod held_jobs;
mod held_jobs_crashes;
mod held_jobs_faults;
mod held_offers;
mod held_requests;
mod held_requests_crashes;
mod held_requests_faults;
mod held_requests_work;
mod keys;
mod lapses;
mod life;
mod outages;
mod paid_faults;
mod paid_requests;
mod paid_requests_crashes;
mod payouts;
mod peers;
mod prices;
mod refund_credits;
mod reports;
mod retention;
mod routes;
mod sessions;
mod slow_calls;
mod soak;
mod stopping;
mod sweeps;
mod texts;
mod usage;
mod wallet_faults;
