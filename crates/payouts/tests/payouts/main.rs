//! Obligations and payouts: each step by itself, and random sequences of steps against a naive model.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

mod begin;
mod destination;
mod direct;
mod model;
mod random;
mod samples;
mod settle;
