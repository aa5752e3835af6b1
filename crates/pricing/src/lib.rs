//! The pricing of AI work.
//!
//! A [`Catalogue`] has the models and their prices; a [`Tokenizer`] counts a prompt; [`Terms`] are the operator's
//! margin, fixed cost and the current BTC price. Together they make a [`Quote`], which freezes its rates: work is
//! charged at the quote's rates even if prices change in the meantime. [`Priced::split`] splits a payment into charge
//! and refund once the actual usage is known. Work that is not measured in tokens has a [`UnitRate`].
//!
//! ```
//! # #[cfg(feature = "toml")] fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tithe_clock::Timestamp;
//! use tithe_money::{BasisPoints, BtcPrice, Msats, UsdMicros};
//! use tithe_pricing::{BtcQuote, Catalogue, Priced, Terms, Usage};
//!
//! let catalogue = Catalogue::built_in();
//! let model = catalogue.model("sim-large").ok_or("no such model")?;
//! let terms = Terms {
//!     margin: BasisPoints::from_percent(40)?,
//!     fixed_cost: UsdMicros::ZERO,
//!     btc: BtcQuote { price: BtcPrice::parse("100000")?, as_of: Timestamp::UNIX_EPOCH },
//! };
//!
//! // The customer pays the maximum price in advance; anything unused is refunded.
//! let quote = model.quote(&["Why is the sky blue?"], Some(200), &terms)?;
//! let paid = quote.full_amount()?.to_msats();
//! let usage = Usage { input_tokens: 14, output_tokens: 50, ..Usage::ZERO };
//! let settled = quote.split(&usage, paid, Msats::ZERO)?;
//! assert!(settled.refund.get() > 0);
//! assert_eq!(
//!     paid,
//!     settled.charged.checked_add(settled.refund.to_msats())?.checked_add(settled.rounding)?,
//! );
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "toml"))] fn main() {}
//! ```
//!
//! # Features
//!
//! On by default: `tokenizers`, exact token counts (without it, [`Tokenizer`] counts an upper bound), and `toml`, which has
//! `Catalogue::parse` and `Catalogue::built_in`. Off by default: `serde`, for everything that is stored or configured, and
//! `ports`, the trait `PriceFeed`.

mod btc;
mod call_price;
mod catalogue;
#[cfg(feature = "toml")]
mod catalogue_file;
mod cost;
#[cfg(feature = "tokenizers")]
mod dictionary;
mod envelope;
mod finish_reason;
mod model;
mod price;
#[cfg(feature = "ports")]
mod price_feed;
mod priced;
mod quote;
mod rates;
mod tokens;
mod units;
mod usage;

pub use btc::{BtcQuote, PriceError};
pub use call_price::CallPrice;
pub use catalogue::Catalogue;
#[cfg(feature = "toml")]
pub use catalogue_file::CatalogueError;
pub use cost::{CostShares, CostSplit};
pub use finish_reason::{FinishReason, UnknownFinishReason};
pub use model::{Model, PriceChange, Purpose};
pub use price::{Price, Terms};
#[cfg(feature = "ports")]
pub use price_feed::PriceFeed;
pub use priced::Priced;
pub use quote::{InputTokens, Quote, QuoteError, QuotedTokens};
pub use rates::{CacheWrites, ModelRates, RateTier, TokenRates};
pub use tokens::{Tokenizer, UnknownTokenizer};
pub use units::{UnitName, UnitNames, UnitQuote, UnitRate};
pub use usage::Usage;

pub use tithe_clock;
pub use tithe_money;
