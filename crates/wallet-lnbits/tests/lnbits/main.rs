//! The wallet against a scripted LNbits that answers with real responses.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do; the exemption for tests does not reach them"
)]

mod creating;
mod events;
mod invoices;
mod lnbits;
mod outgoing;
mod secrets;
mod sending;
mod settled;
