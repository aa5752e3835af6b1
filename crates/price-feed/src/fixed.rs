//! A price that never changes.

use async_trait::async_trait;
use std::sync::Arc;
use tithe_clock::Clock;
use tithe_money::BtcPrice;
use tithe_pricing::{BtcQuote, PriceError, PriceFeed};

/// A price feed that always returns the same price, valid at any time.
pub struct FixedPrice {
    price: BtcPrice,
    clock: Arc<dyn Clock>,
}

impl FixedPrice {
    /// Creates a feed with this price.
    #[must_use]
    pub fn new(price: BtcPrice, clock: Arc<dyn Clock>) -> Self {
        Self { price, clock }
    }
}

#[async_trait]
impl PriceFeed for FixedPrice {
    async fn btc_price(&self) -> Result<BtcQuote, PriceError> {
        Ok(BtcQuote { price: self.price, as_of: self.clock.now() })
    }
}
