//! Clients that pay for each request by itself, unchanged: `just test-paywall`.

use crate::merchant::{Merchant, Setting};
use crate::program::{node, python};
use crate::shop::Shop;
use std::process::Command;
use tithe_test_lightning::LightningPair;

/// The requests that a client sends. Each differs from the others.
const REQUESTS: usize = 5;

/// Runs a client; each of its requests must be served, for one payment, and no sat lost. Returns how many payments were held.
async fn is_served_by(client: Command, settings: &[Setting]) -> usize {
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let shop = Shop::open(&settings).await;
    let printed = shop.run(client);
    assert!(printed.contains(&format!(" is served, for {REQUESTS} payments")), "{printed}");
    assert_eq!(shop.spent_msats().await, 0, "a session paid");
    shop.audit();
    shop.log().matches("payment held").count()
}

/// The client pays with play money.
pub(crate) async fn is_served(client: Command) {
    assert_eq!(is_served_by(client, &[]).await, 0);
}

/// The client pays with play money, and its wallet waits: each payment is held until the request is done.
pub(crate) async fn is_served_first(client: Command) {
    let held = is_served_by(client, &[("TITHE_HOLD_REQUESTS", "1".to_owned())]).await;
    assert_eq!(held, REQUESTS, "payments that were held");
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

/// `tithe pay` is served as those are, pays no more than it may, and sends a proof that it has kept instead of paying again.
pub(crate) async fn tithe_pays() {
    let shop = Shop::open(&[]).await;
    let pay = |more: &[&str]| {
        let mut command = crate::server::tithe(shop.folder.path());
        let url = format!("{}/api/ask", shop.url());
        command.args(["pay", &url, "-d", r#"{"request":"Why is the sky blue?","maxOutputTokens":200}"#]);
        command.args(more).env_remove("XDG_DATA_HOME");
        shop.try_run(command)
    };
    let kept = shop.folder.path().join(".local/share/tithe/payments");
    let files = || std::fs::read_dir(&kept).unwrap().count();
    let nobody = pay(&[]);
    assert_eq!((nobody.status.code(), files()), (Some(1), 0), "{nobody:?}");
    let dear = pay(&["--dev-pay", "--max-sats", "1", "-H", "X-Other: 1"]);
    assert_eq!((dear.status.code(), files()), (Some(1), 0), "{dear:?}");
    let served = pay(&["--dev-pay"]);
    assert!(served.status.success(), "{served:?}");
    assert!(String::from_utf8_lossy(&served.stdout).contains("\"result\""), "{served:?}");
    assert_eq!(files(), 0, "a proof is kept that was used");
    shop.audit();
}
