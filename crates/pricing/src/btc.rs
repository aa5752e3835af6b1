//! The price of bitcoin, as the pricing rules use it.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tithe_clock::Timestamp;
use tithe_money::BtcPrice;

/// A BTC price and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BtcQuote {
    /// The price of one bitcoin.
    pub price: BtcPrice,
    /// When the price was valid.
    pub as_of: Timestamp,
}

/// There is no BTC price that is recent enough to sell at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PriceError {
    /// No source has answered yet.
    #[error("no BTC price available yet")]
    NeverKnown,
    /// The last good price is too old.
    #[error("stale BTC price: the last one is from {as_of}")]
    TooOld {
        /// When the last price was valid.
        as_of: Timestamp,
    },
}

/// Provides the price of bitcoin.
#[async_trait]
pub trait PriceFeed: Send + Sync {
    /// The current selling price.
    ///
    /// # Errors
    /// [`PriceError`] if no price is recent enough; callers that need a price must retry later.
    async fn btc_price(&self) -> Result<BtcQuote, PriceError>;
}
