//! The live feed against sources of its own making.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do; the exemption for tests does not reach them"
)]

mod answers;
mod bench;
mod keeping;
