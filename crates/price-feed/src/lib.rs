//! The price of bitcoin: fixed, or the median of several public sources.
//!
//! [`FixedPrice`] says what it was told. [`LivePriceFeed`] asks the [`Source`]s and keeps what they agree on:
//!
//! - While the last price is younger than [`PriceSettings::refresh_after`] it is the answer.
//! - After that the sources are asked again, once for all who wait. If too few answer, the last price is still good
//!   until [`PriceSettings::max_age`]: a price that is some minutes old is better than a closed shop.
//! - After that there is no price, and what needs one must wait
//!   ([`PriceError::TooOld`](tithe_pricing::PriceError::TooOld)).
//!
//! No price is ever a float: sources write decimals, and their digits are read as they stand.
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
//! // Asks nobody before it is asked itself.
//! let settings = PriceSettings {
//!     sources: vec![Source::of(Publisher::Kraken), Source::of(Publisher::Bitstamp)],
//!     ..PriceSettings::default()
//! };
//! let _live = LivePriceFeed::new(settings, Arc::new(SystemClock))?;
//! # Ok(())
//! # }
//! ```

mod fetch;
mod fixed;
mod live;
mod median;
mod number;
mod settings;
mod source;

pub use fixed::FixedPrice;
pub use live::{LivePriceFeed, PriceFeedError, TooFewAnswers};
pub use settings::PriceSettings;
pub use source::{Publisher, Source};
