//! Sources that say what a test wants, and a clock.

use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{Clock, ManualClock, Timestamp};
use tithe_price_feed::{LivePriceFeed, PriceSettings, Publisher, Source};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

pub(crate) struct Bench {
    pub clock: Arc<ManualClock>,
    pub servers: Vec<MockServer>,
    pub settings: PriceSettings,
}

impl Bench {
    /// One server for each publisher; they answer with 404 until they are told what to say.
    pub async fn new(publishers: &[Publisher]) -> Self {
        let mut servers = Vec::new();
        for _ in publishers {
            servers.push(MockServer::start().await);
        }
        let sources =
            publishers.iter().zip(&servers).map(|(publisher, server)| Source::at(*publisher, server.uri()));
        let settings = PriceSettings { sources: sources.collect(), ..PriceSettings::default() };
        let start = Timestamp::parse_rfc3339("2026-01-31T12:00:00Z").unwrap();
        Self { clock: Arc::new(ManualClock::at(start)), servers, settings }
    }

    /// As [`Bench::new`], with sources that tell their time.
    pub async fn of_bitstamps(prices: &[&str]) -> Self {
        let bench = Self::new(&vec![Publisher::Bitstamp; prices.len()]).await;
        for (index, price) in prices.iter().enumerate() {
            bench.says(index, &bitstamp(price, bench.clock.now())).await;
        }
        bench
    }

    pub fn feed(&self) -> Arc<LivePriceFeed> {
        Arc::new(LivePriceFeed::new(self.settings.clone(), self.clock.clone()).unwrap())
    }

    /// From now on this source answers so.
    pub async fn responds(&self, server: usize, response: ResponseTemplate) {
        self.servers[server].reset().await;
        Mock::given(any()).respond_with(response).mount(&self.servers[server]).await;
    }

    pub async fn says(&self, server: usize, body: &str) {
        self.responds(server, ResponseTemplate::new(200).set_body_raw(body, "application/json")).await;
    }

    pub async fn fail_all(&self) {
        for server in 0..self.servers.len() {
            self.responds(server, ResponseTemplate::new(503)).await;
        }
    }

    /// How often this source has been asked since it was last told what to say.
    pub async fn asked(&self, server: usize) -> usize {
        self.servers[server].received_requests().await.unwrap().len()
    }
}

pub(crate) fn bitstamp(price: &str, at: Timestamp) -> String {
    format!(r#"{{"last":"{price}","timestamp":"{}"}}"#, at.unix_seconds())
}

pub(crate) const MINUTE: Duration = Duration::from_mins(1);
