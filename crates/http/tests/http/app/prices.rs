//! A price source that can be switched off.

use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tithe_clock::Clock;
use tithe_money::BtcPrice;
use tithe_price_feed::FixedPrice;
use tithe_pricing::{BtcQuote, PriceError, PriceFeed};

/// A fixed price that can be switched off.
pub(crate) struct SwitchedPrice {
    fixed: FixedPrice,
    off: AtomicBool,
}

impl SwitchedPrice {
    pub(crate) fn at(price: &str, clock: Arc<dyn Clock>) -> Self {
        let fixed = FixedPrice::new(BtcPrice::parse(price).unwrap(), clock);
        Self { fixed, off: AtomicBool::new(false) }
    }

    pub(crate) fn switch_off(&self, off: bool) {
        self.off.store(off, Ordering::SeqCst);
    }
}

#[async_trait]
impl PriceFeed for SwitchedPrice {
    async fn btc_price(&self) -> Result<BtcQuote, PriceError> {
        if self.off.load(Ordering::SeqCst) {
            Err(PriceError::NeverKnown)
        } else {
            self.fixed.btc_price().await
        }
    }
}
