//! Payment credentials: macaroons that their holders can narrow, what has been spent with each of them, and the schemes
//! `L402` and `Payment`, in which a client pays for one request.
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
//! # Paying for one request
//!
//! A service without accounts asks for a payment in two schemes, [`l402`] and [`payment`], and takes the proof of either.
//! What a payment is for is the [`RequestDigest`] that the service stores with it.
//!
//! ```
//! use std::time::Duration;
//! use tithe_clock::Timestamp;
//! use tithe_money::Sats;
//! use tithe_paywall::payment::{ChallengeKey, ChargeRequest, ContentDigest, NewChallenge, Network, Paid, Request};
//! use tithe_paywall::{RequestDigest, RootKey, l402, payment};
//!
//! let now = Timestamp::parse_rfc3339("2026-01-31T12:00:00Z")?;
//! let secret = [7; 32]; // In earnest: 32 random bytes, stored.
//! let body = br#"{"text":"How are you?"}"#;
//!
//! // A request comes without a payment. The wallet makes an invoice, and its hash is stored with the digest of the request.
//! let digest = RequestDigest::of("POST", "/translate", "anonymous", body);
//! # let preimage = [3; 32];
//! # let payment_hash = { use sha2::Digest as _; sha2::Sha256::digest(preimage).into() };
//! # let invoice = "lnbc210n1pexample".to_owned();
//! # let mut payments = std::collections::HashMap::new();
//! payments.insert(payment_hash, digest);
//!
//! // The answer is 402, with these headers `WWW-Authenticate`.
//! let identifier = l402::Identifier { payment_hash, token_id: digest.to_bytes() };
//! let token = l402::mint(&secret, "translate.example", &identifier)?.encode_standard();
//! let [first, second] = l402::challenges(&token, &invoice)?;
//! let key = ChallengeKey::derive(&secret);
//! let amount = Sats::new(21)?;
//! let (description, external_id, network) = (None, None, Some(Network::Mainnet));
//! let request = ChargeRequest { amount, description, external_id, invoice: invoice.clone(), payment_hash, network };
//! let challenge = key.issue(&NewChallenge {
//!     realm: "translate.example".to_owned(),
//!     request: Request::Charge(request),
//!     expires: Some(now + Duration::from_mins(10)),
//!     digest: Some(ContentDigest::of(body)),
//!     opaque: [].into(),
//!     description: Some("A translation".to_owned()),
//! })?;
//! let third = challenge.header()?;
//! assert!(first.starts_with("L402 macaroon=") && second.starts_with("L402 version=") && third.starts_with("Payment id="));
//!
//! // The client pays, learns the preimage, and sends the request again with one of two headers `Authorization`.
//! let authorization = format!("L402 {token}:{}", hex::encode(preimage));
//! let credential = l402::Credential::parse(&authorization)?;
//! let proof = credential.verify(&[RootKey::derive(&secret, credential.macaroon().identifier())])?;
//! assert_eq!(payments.get(&proof.identifier.payment_hash), Some(&digest)); // In earnest: look it up, once only.
//! assert!(!proof.verified.is_expired(now));
//!
//! let authorization = challenge.answer_charge(&preimage);
//! let credential = payment::Credential::parse(&authorization)?;
//! let proof = credential.verify_for_body(&[key], body)?;
//! proof.check("translate.example", now, body)?;
//! let Paid::Charge { request, .. } = proof.paid else { return Err("no charge".into()) };
//! assert_eq!(payments.get(&request.payment_hash), Some(&digest));
//!
//! // The answer to a paid request has a receipt, the header `Payment-Receipt`.
//! let (reference, challenge_id) = (request.payment_hash, Some(proof.challenge_id));
//! let receipt = payment::Receipt { reference, settled_at: now, challenge_id, refund: None };
//! assert_eq!(payment::Receipt::decode(&receipt.encode())?, receipt);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! `serde` serializes everything that is stored. It is not on by default.

mod canonical;
mod caveat;
mod chain;
mod format;
mod key;
pub mod l402;
mod limit;
mod macaroon;
pub mod payment;
mod period;
mod preimage;
mod quoted;
mod request_digest;
#[cfg(test)]
mod testing;
mod usage;
mod usage_error;
#[cfg(test)]
mod usage_model;
mod verified;

pub use canonical::{NotCanonical, canonical_json};
pub use caveat::{Caveat, Expiry, InvalidCaveat, Models};
pub use chain::RootKey;
pub use key::{InvalidKeyId, Key, KeyId};
pub use limit::Limit;
pub use macaroon::{InvalidMacaroon, Macaroon, VerifyError};
pub use period::{Period, UnknownPeriod};
pub use request_digest::{InvalidRequestDigest, RequestDigest};
pub use usage::KeyUsage;
pub use usage_error::{LimitReached, UsageError};
pub use verified::Verified;

pub use tithe_clock;
pub use tithe_money;
