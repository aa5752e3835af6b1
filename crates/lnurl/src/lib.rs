//! Gets invoices from Lightning addresses, whose hosts are not trusted.
//!
//! [`LnurlResolver`] speaks LNURL-pay ([LUD-06](https://github.com/lnurl/luds/blob/luds/06.md)) with the host of a Lightning address
//! ([LUD-16](https://github.com/lnurl/luds/blob/luds/16.md)), in two requests: `https://<host>/.well-known/lnurlp/<name>` returns the
//! range of amounts and a callback URL, which returns an invoice for an amount.
//!
//! The customer chooses the host, and the host chooses the callback, so
//!
//! - both URLs, and up to three redirects of each, must lead to the public internet (`tithe_public_http`); onion services are refused;
//! - responses are limited in size and time;
//! - the invoice must be for the network and for exactly the amount that was asked for;
//! - a host's own words reach an [`AddressError`](tithe_payouts::AddressError) only as a short excerpt without control characters.
//!
//! The description hash of an invoice is not compared with the hash of the metadata. It would prove nothing: both come from the same
//! host over the same kind of connection, and nobody reads the description of a payout. Many services return invoices without it, so
//! the LUDs have dropped that check (<https://github.com/lnurl/luds/pull/234>).
//!
//! No comment ([LUD-12](https://github.com/lnurl/luds/blob/luds/12.md)) and no data of the payer
//! ([LUD-18](https://github.com/lnurl/luds/blob/luds/18.md)) is sent; a service that requires such data cannot be paid. What should
//! happen after a payment (`successAction`), `routes` and `disposable` are ignored.
//!
//! ```
//! use tithe_lightning::Network;
//! use tithe_lnurl::{LnurlResolver, LnurlSettings};
//! use tithe_payouts::AddressResolver;
//!
//! let resolver = LnurlResolver::new(LnurlSettings::new(Network::Mainnet))?;
//! assert!(resolver.check(&"alice@example.com".parse()?).is_ok());
//! assert!(resolver.check(&"alice@192.168.1.1".parse()?).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod excerpt;
mod failure;
mod pay_request;
mod reply;
mod resolver;

pub use resolver::{LnurlClientError, LnurlResolver, LnurlSettings};
pub use tithe_public_http::Destinations;
