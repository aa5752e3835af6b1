//! What AI work costs.
//!
//! A [`Catalogue`] knows models and their prices; a [`Tokenizer`] counts a prompt; [`Terms`] are the operator's margin,
//! fixed cost and the BTC price of the moment; together they make a [`Quote`], which freezes its rates: work is charged
//! at the quote's rates whatever happens to prices meanwhile. [`Quote::settle`] splits what was paid into charge and
//! refund once the true usage is known.
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
//! // The most that the work can cost is asked for; what is not used is given back.
//! let quote = model.quote(&["Why is the sky blue?"], Some(200), &terms)?;
//! let paid = quote.full_amount()?.to_msats();
//! let usage = Usage { input_tokens: 14, cached_input_tokens: 0, output_tokens: 50 };
//! let settled = quote.settle(&usage, paid, Msats::ZERO)?;
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
pub use quote::{Price, Quote, QuoteError, QuotedTokens, Settlement, Terms};
pub use tokens::{Tokenizer, UnknownTokenizer};
pub use usage::Usage;
