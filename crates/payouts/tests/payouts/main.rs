//! Obligations and payouts: each step by itself, and random sequences of steps against a naive model.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do; the exemption for tests does not reach them"
)]

mod begin;
mod destination;
mod direct;
mod model;
mod random;
mod samples;
mod settle;
