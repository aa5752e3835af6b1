//! A price that can be moved and taken away.

use super::SceneClock;
use async_trait::async_trait;
use std::sync::{Arc, Mutex};
use tithe_clock::Clock;
use tithe_money::BtcPrice;
use tithe_price_feed::FixedPrice;
use tithe_pricing::{BtcQuote, PriceError, PriceFeed};

pub struct Prices {
    clock: Arc<SceneClock>,
    feed: Mutex<Option<Arc<FixedPrice>>>,
}

impl Prices {
    pub fn new(clock: Arc<SceneClock>) -> Self {
        let prices = Self { clock, feed: Mutex::new(None) };
        prices.set(Some("100000"));
        prices
    }

    /// From now on the price is this many dollars, or unknown.
    pub fn set(&self, dollars: Option<&str>) {
        let fixed = |price| Arc::new(FixedPrice::new(BtcPrice::parse(price).unwrap(), self.clock.clone()));
        *self.feed.lock().unwrap() = dollars.map(fixed);
    }
}

#[async_trait]
impl PriceFeed for Prices {
    async fn btc_price(&self) -> Result<BtcQuote, PriceError> {
        let feed = self.feed.lock().unwrap().clone();
        match feed {
            Some(feed) => feed.btc_price().await,
            None => Err(PriceError::TooOld { as_of: self.clock.now() }),
        }
    }
}
