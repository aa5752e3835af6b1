//! Lightning addresses of honest, sloppy and hostile hosts.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic as tests do; the exemption for tests does not reach them"
)]

mod first_reply;
mod host;
mod hostile;
mod invoices;
mod public;
