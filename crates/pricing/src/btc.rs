//! The price of bitcoin, as the rules see it.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tithe_clock::Timestamp;
use tithe_money::BtcPrice;

/// A BTC price and when it was true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BtcQuote {
    /// What one bitcoin costs.
    pub price: BtcPrice,
    /// When.
    pub as_of: Timestamp,
}

/// No price is known that is fresh enough to sell at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PriceError {
    /// No source has ever answered.
    #[error("no BTC price is known yet")]
    NeverKnown,
    /// The last good price is too old.
    #[error("the last BTC price is from {as_of}, which is too long ago")]
    TooOld {
        /// When the last good price was true.
        as_of: Timestamp,
    },
}

/// Tells the price of bitcoin.
#[async_trait]
pub trait PriceFeed: Send + Sync {
    /// The price to sell at now.
    ///
    /// # Errors
    /// [`PriceError`] when none is fresh enough; what needs a price must wait.
    async fn btc_price(&self) -> Result<BtcQuote, PriceError>;
}
