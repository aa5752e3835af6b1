//! Payment credentials: macaroons that their holders can narrow, and what has been spent with each of them.
//!
//! A [`Macaroon`] is minted for something that was paid for, such as a prepaid session. Its holder can narrow it by
//! [`Caveat`]s, without the server, and hand it on: until a time, for some models, up to an amount. The server verifies
//! it with a [`RootKey`] that it derives from its secret, and learns from [`Verified`] what the macaroon allows.
//!
//! Each macaroon that a macaroon was narrowed from is a [`Key`]. A limit belongs to the key that its caveat made, so
//! macaroons narrowed from a common one share its limits, and are revoked with it. [`KeyUsage`] is what a key has spent; it
//! is stored by [`KeyId`].
//!
//! Nothing here reads a clock or stores anything. The caller checks [`Verified::is_expired`],
//! [`Verified::allows_model`] and whether a key is revoked, and stores the [`KeyUsage`] of all keys that have limits in
//! one transaction.
//!
//! ```
//! use std::time::Duration;
//! use tithe_clock::Timestamp;
//! use tithe_money::Msats;
//! use tithe_paywall::{Caveat, KeyUsage, Limit, Macaroon, Period, RootKey};
//!
//! let now = Timestamp::parse_rfc3339("2026-01-31T12:00:00Z")?;
//! let secret = [7; 32]; // In earnest: 32 random bytes, stored.
//! let root_key = |identifier: &[u8]| RootKey::derive(&secret, identifier);
//!
//! // The server mints a macaroon for a prepaid session.
//! let session = b"session:0190d1a4-7c1e-7000-8000-000000000000";
//! let minted = Macaroon::mint(&root_key(session), "https://my.example", session)?;
//!
//! // The customer narrows it for an employee, without the server: a day, one model, 5,000 sats an hour.
//! let hourly = Limit::Period(Period::Hour, Msats::new(5_000_000)?);
//! let handed_on = minted
//!     .narrow(&hourly.into())?
//!     .narrow(&Caveat::models(["gpt-5-mini"])?)?
//!     .narrow(&Caveat::expires(now + Duration::from_hours(24)))?
//!     .encode();
//!
//! // The server verifies it: the root key follows from the identifier, so nothing is looked up.
//! let macaroon = Macaroon::parse(&handed_on)?;
//! let verified = macaroon.verify(&root_key(macaroon.identifier()))?;
//! assert_eq!(verified.identifier(), session);
//! assert!(!verified.is_expired(now) && verified.allows_model("gpt-5-mini"));
//! assert!(!verified.allows_model("gpt-5"));
//!
//! // A key for each macaroon that this one was narrowed from: any of them may have been revoked.
//! let [first, limited, ..] = verified.keys() else { return Err("too few keys".into()) };
//! assert_eq!((first.id, first.limit), (minted.key_id(), None));
//! assert_eq!(limited.limit, Some(hourly));
//!
//! // A request reserves its maximum cost, and settles at its actual cost.
//! let usage = KeyUsage::default(); // In earnest: loaded by the key's id.
//! assert_eq!(usage.available(limited.limit, now), Some(Msats::new(5_000_000)?));
//! let reserved = Msats::new(3_000_000)?;
//! let running = usage.reserve(reserved, limited.limit, now)?;
//! assert!(running.reserve(reserved, limited.limit, now).is_err());
//! let usage = running.settle(reserved, Msats::new(1_200_000)?, now)?;
//! assert_eq!(usage.available(limited.limit, now), Some(Msats::new(3_800_000)?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! `serde` serializes everything that is stored. It is not on by default.

mod caveat;
mod chain;
mod format;
mod key;
mod limit;
mod macaroon;
mod period;
#[cfg(test)]
mod testing;
mod usage;
mod usage_error;
#[cfg(test)]
mod usage_model;
mod verified;

pub use caveat::{Caveat, Expiry, InvalidCaveat, Models};
pub use chain::RootKey;
pub use key::{InvalidKeyId, Key, KeyId};
pub use limit::Limit;
pub use macaroon::{InvalidMacaroon, Macaroon, VerifyError};
pub use period::{Period, UnknownPeriod};
pub use usage::KeyUsage;
pub use usage_error::{LimitReached, UsageError};
pub use verified::Verified;

pub use tithe_clock;
pub use tithe_money;
