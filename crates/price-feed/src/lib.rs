//! The price of bitcoin: fixed, or the median of several public sources.
//!
//! [`FixedPrice`] always returns its configured price. [`LivePriceFeed`] queries the [`Source`]s and keeps the
//! median of those that agree within five percent (an outlier is dropped; sources that disagree are no price):
//!
//! - While the last price is younger than [`PriceSettings::refresh_after`], it is returned.
//! - After that, the sources are queried again, once for all waiting callers. If too few respond, the last price stays
//!   valid until [`PriceSettings::max_age`]: a price that is some minutes old is better than no sales.
//! - After that, there is no price, and callers that need one must retry later
//!   ([`PriceError::TooOld`](tithe_pricing::PriceError::TooOld)).
//!
//! Prices are never floats: sources publish decimals, and their digits are parsed exactly.
//!
//! ```
//! use std::sync::Arc;
//! use tithe_clock::SystemClock;
//! use tithe_money::BtcPrice;
//! use tithe_price_feed::{FixedPrice, LivePriceFeed, PriceSettings, Publisher, Source};
//! use tithe_pricing::PriceFeed;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let fixed = FixedPrice::new(BtcPrice::parse("100000")?, Arc::new(SystemClock));
//! assert_eq!(fixed.btc_price().await?.price.to_string(), "100000 USD");
//!
//! // Sends no requests before it is used.
//! let settings = PriceSettings {
//!     sources: vec![Source::of(Publisher::Kraken), Source::of(Publisher::Bitstamp)],
//!     ..PriceSettings::default()
//! };
//! let _live = LivePriceFeed::new(settings, Arc::new(SystemClock))?;
//! # Ok(())
//! # }
//! ```

mod agreed;
mod fetch;
mod fixed;
mod live;
mod number;
mod settings;
mod source;

pub use fixed::FixedPrice;
pub use live::{LivePriceFeed, PriceFeedError, TooFewAnswers};
pub use settings::PriceSettings;
pub use source::{Publisher, Source};
