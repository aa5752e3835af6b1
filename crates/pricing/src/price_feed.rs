//! The port to a source of BTC prices.

use crate::{BtcQuote, PriceError};
use async_trait::async_trait;

/// Provides the price of bitcoin.
#[async_trait]
pub trait PriceFeed: Send + Sync {
    /// The current selling price.
    ///
    /// # Errors
    /// [`PriceError`] if no price is recent enough; callers that need a price must retry later.
    async fn btc_price(&self) -> Result<BtcQuote, PriceError>;
}
