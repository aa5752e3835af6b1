//! The wallet against the JSON of phoenixd's API.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may panic as tests do; the exemption for tests does not reach them"
)]

mod bench;
mod checks;
mod events;
mod invoices;
mod lists;
mod payments;
mod status;
