//! Install credits: random operations against a naive model, and the audit of what they leave behind.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do; the exemption for tests does not reach them"
)]

mod faults;
mod model;
mod operations;
mod random;
mod rows;
