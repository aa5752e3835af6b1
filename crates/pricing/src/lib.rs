//! The pricing of AI work.
//!
//! A [`Catalogue`] has the models and their prices; a [`Tokenizer`] counts a prompt; [`Terms`] are the operator's
//! margin, fixed cost and the current BTC price. Together they make a [`Quote`], which freezes its rates: work is
//! charged at the quote's rates even if prices change in the meantime. [`Quote::split`] splits a payment into charge
//! and refund once the actual usage is known.
//!
//! ```
//! use tithe_clock::Timestamp;
//! use tithe_money::{BasisPoints, BtcPrice, Msats, UsdMicros};
//! use tithe_pricing::{BtcQuote, Catalogue, Terms, Usage};
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
//! let usage = Usage { input_tokens: 14, cached_input_tokens: 0, output_tokens: 50 };
//! let settled = quote.split(&usage, paid, Msats::ZERO)?;
//! assert!(settled.refund.get() > 0);
//! assert_eq!(
//!     paid,
//!     settled.charged.checked_add(settled.refund.to_msats())?.checked_add(settled.rounding)?,
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod btc;
mod catalogue;
mod quote;
mod tokens;
mod usage;

pub use btc::{BtcQuote, PriceError, PriceFeed};
pub use catalogue::{Catalogue, CatalogueError, Model, ModelRates};
pub use quote::{CostShares, CostSplit, Price, Quote, QuoteError, QuotedTokens, Terms};
pub use tokens::{Tokenizer, UnknownTokenizer};
pub use usage::Usage;
