//! The wallet against a wallet service over a real node: the money moves over a real channel.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic as tests do; the exemption for tests does not reach them"
)]

mod bench;
mod faults;
mod hold;
mod money;
