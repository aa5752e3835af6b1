//! The wallet against a relay and a wallet service whose behaviour each test chooses.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do; the exemption for tests does not reach them"
)]

mod bench;
mod hold;
mod invoices;
mod lists;
mod payments;
mod received;
mod relay;
mod relays;
mod requests;
mod service;
