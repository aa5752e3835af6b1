//! The simulated wallet through its ports.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do; the exemption for tests does not reach them"
)]

mod bench;
mod faults;
mod hold;
mod invoices;
mod kill;
mod model;
mod payments;
mod settlements;
mod sharing;
