//! The program as a stranger uses it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod ai_kills;
mod api;
mod audit;
mod backups;
mod bootstraps;
mod buying;
mod config_check;
mod configuration;
mod copies;
mod credits;
mod credits_file;
mod database_faults;
mod deploy;
mod events;
mod fake_backend;
mod faults;
mod first_steps;
mod forget;
mod free_tier;
mod identity;
mod licences;
mod logging;
mod memory;
mod metrics;
mod migrate;
mod mistakes;
mod mounts;
mod nostr;
mod operating;
mod passwords;
mod pay;
mod pay_by_nwc;
mod payouts;
mod refunds;
mod routes;
mod selftest;
mod selftest_ai;
mod selftest_held;
#[path = "../server/mod.rs"]
mod server;
mod sessions;
mod several;
mod shared_settings;
mod signals;
mod statement;
mod tampering;
mod test_env;
#[cfg(feature = "otel")]
mod traces;

use server::Server;
use std::process::Output;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command has said, whichever way.
fn all_of(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

/// Buys something in the terminal.
fn ask(server: &Server, arguments: &[&str]) -> Output {
    let url = server.url("");
    server.run(&[&["ask", "--no-qr", "--dev-pay", "--server", &url], arguments].concat())
}
