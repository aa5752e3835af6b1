//! Licences that prove the plan of an install: signed by the operator, verified offline.
//!
//! A [`Licence`] says that an install has a paid plan until some time. The operator signs it with a [`SigningKey`]; whoever has the
//! public keys ([`LicenceKeys`]) can verify the token without asking anybody. There is no I/O here: the time and the random bytes are
//! parameters, and a [`Revocation`] is a row that the caller looks up.
//!
//! A token is `v1.<payload>.<signature>`, both in base64url without padding. The payload is
//! `{"id":"<uuid>","install":"<uuid>","plan":"pro|max","issuedAt":<unix seconds>,"expiresAt":<unix seconds>,"key":"<16 hex digits>"}`;
//! the signature is Ed25519 (RFC 8032) over `tithe-licence:v1.<payload>`. A licence has one spelling: any other text is refused.
//!
//! ```
//! use std::time::Duration;
//! use tithe_clock::{SeededEntropy, Timestamp};
//! use tithe_ledger::credits::Plan;
//! use tithe_licences::{InvalidLicence, Licence, LicenceId, LicenceKeys, SigningKey};
//!
//! let (entropy, now) = (SeededEntropy::new(1), Timestamp::UNIX_EPOCH);
//! let key = SigningKey::random(&entropy);
//! let install = "0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10".parse()?;
//! let expires_at = now + Duration::from_hours(24);
//! let id = LicenceId::random(&entropy);
//! let licence = Licence { id, install, plan: Plan::Pro, issued_at: now, expires_at, key: key.id() };
//! let token = licence.sign(&key)?;
//!
//! let keys = LicenceKeys::new([key.verifying_key()]);
//! assert_eq!(keys.verify(&token, install, now)?, licence);
//! assert_eq!(keys.verify(&token, install, expires_at), Err(InvalidLicence::Expired { at: expires_at }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod invalid;
mod key;
mod keys;
mod licence;
mod revocation;

pub use invalid::InvalidLicence;
pub use key::{InvalidKey, InvalidKeyId, KeyId, SigningKey, VerifyingKey};
pub use keys::LicenceKeys;
pub use licence::{CannotSign, Licence};
pub use revocation::{LicenceId, Revocation};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use tithe_clock;
pub use tithe_ledger;
pub use uuid;
