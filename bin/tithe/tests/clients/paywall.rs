//! Clients that pay for each request by itself, unchanged: `just test-paywall`.

use crate::program::{node, python};
use crate::shop::Shop;
use serde_json::json;
use std::process::Command;

/// The requests that a client sends. Each differs from the others.
const REQUESTS: usize = 5;

/// Runs a client; each of its requests must be served, for one payment, and no sat lost.
pub(crate) async fn is_served(client: Command) {
    let shop = Shop::open(&[]).await;
    let printed = shop.run(client);
    assert!(printed.contains(&format!(" is served, for {REQUESTS} payments")), "{printed}");
    assert_eq!(shop.spent_msats().await, 0, "a session paid");
    let report = shop.audit();
    assert_ne!(report["revenueMsats"], json!("0"), "nothing was sold: {report:#}");
}

pub(crate) fn of_javascript(client: &str) -> Command {
    let mut command = node("paywall_client.mjs");
    command.arg(client);
    command
}

pub(crate) fn of_python() -> Command {
    python("paywall_client.py")
}
