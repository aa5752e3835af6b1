//! The wallet over a real Lightning channel, behind phoenixd's API.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic as tests do; the exemption for tests does not reach them"
)]

mod bench;
mod lost;
mod paying;
mod receiving;
