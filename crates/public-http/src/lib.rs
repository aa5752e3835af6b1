//! An HTTP client for URLs that strangers chose: it connects to the public internet only.
//!
//! Somebody who chooses a URL that the server requests must not reach what only the server can reach: its own ports, the operator's
//! network, the metadata service of a cloud. With [`Destinations::Public`], [`PublicClient`] therefore
//!
//! - requires https, and a host that is not an address literal of, or a name within, a private network;
//! - resolves names itself and connects to their public addresses only, at every connection again, so a name that resolves differently
//!   the second time gains nothing;
//! - checks every redirect as it checks the first URL ([`PublicClient::get`]), or follows none ([`PublicClient::post`]);
//! - uses no proxy, which would resolve names by rules of its own.
//!
//! In every mode, a request has one time limit for connecting, redirects and the body together, a body is read up to a size limit, no
//! cookies are kept, and neither URLs nor bodies appear in errors or logs.
//!
//! ```
//! use std::time::Duration;
//! use tithe_public_http::{Destinations, Limits, PublicClient, RefusedUrl};
//!
//! let limits = Limits { time: Duration::from_secs(10), body_bytes_max: 65_536, redirects_max: 3 };
//! let client = PublicClient::new(Destinations::Public, limits)?;
//! assert!(client.check("https://example.com/hook").is_ok());
//! assert_eq!(client.check("https://169.254.169.254/"), Err(RefusedUrl::PrivateAddress));
//! assert_eq!(client.check("https://2130706433/"), Err(RefusedUrl::PrivateAddress));
//! # Ok::<(), tithe_public_http::ClientError>(())
//! ```

mod client;
mod names;
mod public_address;
mod rules;

pub use client::{ClientError, Limits, PublicClient, RequestError, Response};
pub use reqwest::StatusCode;
pub use rules::{Destinations, RefusedUrl};
pub use url::Url;
