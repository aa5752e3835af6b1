//! Clients that pay for each request by itself, unchanged: `just test-paywall`.

use crate::merchant::{Merchant, Setting};
use crate::program::{node, python};
use crate::shop::Shop;
use std::process::Command;
use tithe_test_lightning::LightningPair;

/// The requests that a client sends. Each differs from the others.
const REQUESTS: usize = 5;

/// Runs a client; each of its requests must be served, for one payment, and no sat lost.
async fn is_served_by(client: Command, settings: &[Setting]) {
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let shop = Shop::open(&settings).await;
    let printed = shop.run(client);
    assert!(printed.contains(&format!(" is served, for {REQUESTS} payments")), "{printed}");
    assert_eq!(shop.spent_msats().await, 0, "a session paid");
    shop.audit();
}

/// The client pays with play money.
pub(crate) async fn is_served(client: Command) {
    is_served_by(client, &[]).await;
}

/// The client's payments go over a Lightning channel, from one node to another.
pub(crate) async fn is_served_over_a_channel(client: Command) {
    let pair = LightningPair::start().await.unwrap();
    let (merchant, payer) = (Merchant::phoenixd(pair.merchant()).await, Merchant::nwc(pair.customer()).await);
    let mut settings = [merchant.settings(), payer.payer_settings()].concat();
    settings.push(("TITHE_BTC_PRICE_USD", "100000".to_owned()));
    let before = merchant.holds();
    is_served_by(client, &settings).await;
    assert!(merchant.holds() > before, "nothing has arrived");
}

pub(crate) fn of_javascript(client: &str) -> Command {
    let mut command = node("paywall_client.mjs");
    command.arg(client);
    command
}

pub(crate) fn of_python() -> Command {
    python("paywall_client.py")
}
