//! The price of bitcoin, as the pricing rules use it.

use tithe_clock::Timestamp;
use tithe_money::BtcPrice;

/// A BTC price and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
