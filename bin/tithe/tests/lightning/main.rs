//! The program at real wallets: customers pay and are refunded over Lightning channels.
//!
//! Everything runs on this machine: the nodes are LDK's, on a regtest chain in memory. Tests with a real LNbits, which is installed from
//! the Python package index, and those that take minutes are ignored by default; `just test-lightning` runs them too.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod books;
mod catch_up;
mod customer;
mod dev_payer;
mod faults;
mod fees;
mod held;
mod held_payments;
mod held_requests;
mod kills;
mod lnbits;
mod merchant;
mod patience;
mod production;
mod selling;
#[path = "../server/mod.rs"]
mod server;
mod shop;

use std::process::Output;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command has printed, on either stream.
fn all_of(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}
