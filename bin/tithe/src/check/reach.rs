//! Whether the price sources answer, and whether customers' way to the server is there.

use super::probe::Probe;
use crate::chain;
use crate::config::{Config, PriceSource};
use reqwest::Client;
use std::net::ToSocketAddrs as _;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::SystemClock;
use tithe_price_feed::{LivePriceFeed, PriceSettings};

/// How long an address may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn probe(config: &Config) -> (&'static str, impl Future<Output = Vec<Probe>>) {
    ("reach", async move {
        let mut found = vec![price(config).await];
        for url in &config.server.public_urls {
            found.push(public_url(&url.to_string(), url.host()).await);
        }
        found
    })
}

async fn price(config: &Config) -> Probe {
    let subject = "price";
    match config.prices.btc {
        PriceSource::Fixed(price) => Probe::ok(subject, format!("fixed: {price}")),
        PriceSource::Simulated(price) => Probe::ok(subject, format!("simulated: {price}")),
        PriceSource::Live => {
            let feed = match LivePriceFeed::new(PriceSettings::default(), Arc::new(SystemClock)) {
                Ok(feed) => feed,
                Err(wrong) => return Probe::failed(subject, chain(&wrong)),
            };
            match feed.refresh().await {
                Ok(quote) => Probe::ok(subject, format!("{} by public sources", quote.price)),
                Err(wrong) => Probe::failed(
                    subject,
                    format!(
                        "{}; is https to the internet allowed from here? Or fix a price: TITHE_BTC_PRICE_USD",
                        chain(&wrong)
                    ),
                ),
            }
        }
    }
}

/// The name must lead somewhere. Whether something answers there says little before the server runs.
async fn public_url(url: &str, host: &str) -> Probe {
    let subject = "public url";
    let name = (host.trim_matches(['[', ']']).to_owned(), 443);
    let resolved = tokio::task::spawn_blocking(move || name.to_socket_addrs().map(Iterator::count)).await;
    if !matches!(resolved, Ok(Ok(addresses)) if addresses > 0) {
        return Probe::failed(
            subject,
            format!("{url}: the name of the host has no address; check TITHE_PUBLIC_URL and the DNS"),
        );
    }
    let Ok(client) = Client::builder().timeout(PATIENCE).build() else {
        return Probe::warning(subject, format!("{url}: it could not be tried"));
    };
    match client.get(format!("{url}/healthz")).send().await {
        Ok(answer) if answer.status().is_success() => Probe::ok(subject, format!("{url} answers")),
        Ok(answer) => Probe::warning(
            subject,
            format!(
                "{url}/healthz answers {}: does the proxy there pass requests on to this server?",
                answer.status()
            ),
        ),
        Err(_) => Probe::ok(subject, format!("{url} has an address, and nothing answers there now")),
    }
}
