//! Nostr identities, their authentication, and the trust that they earn.
//!
//! A client authenticates with a key in one of two ways. It signs a [`Challenge`] of ours ([`Challenges::login`],
//! NIP-42) and receives an [`IdentityToken`] that it sends with its requests ([`IdentityTokens`]), or it signs each
//! request ([`check_http_auth`], NIP-98). Each key has a [`TrustScore`]; a [`TrustPolicy`] updates its [`Score`] from
//! the results of its work, and the score determines its [`Tier`].
//!
//! Nothing here reads a clock, draws random bytes or stores anything: time and randomness are parameters. The caller
//! must remember what was used: a [`Login`]'s nonce and a [`RequestAuth`]'s event id are valid only once.
//!
//! ```
//! use std::time::Duration;
//! use tithe_clock::Timestamp;
//! use tithe_money::Msats;
//! use tithe_trust::{
//!     Audience, Challenges, TrustScore, IdentityTokens, Interaction, VerifiedEvent, Score, Secret, SecretKey, Secrets, Site, Tier,
//!     TrustPolicy,
//! };
//!
//! let now = Timestamp::parse_rfc3339("2026-01-31T12:00:00Z")?;
//! // In earnest: Secret::random(&SystemEntropy), stored.
//! let secrets = Secrets::new(Secret::new([7; 32])?, vec![]);
//! let challenges = Challenges::new(&secrets, Challenges::LIFE);
//! let tokens = IdentityTokens::new(&secrets, Audience::literal("my_service"), Duration::from_hours(24));
//!
//! // The server issues a challenge and stores nothing; the client signs it.
//! let challenge = challenges.issue(now, [7; 8]);
//! let client = SecretKey::from_bytes([42; 32])?;
//! let signed = client.login(challenge.nonce, "https://my.example", now, [9; 32]);
//!
//! // The server verifies the signature, stores the nonce as used, and issues a token.
//! let login = challenges.login(&VerifiedEvent::parse(&signed)?, Site::Named(&["my.example"]), now)?;
//! assert_eq!((login.pubkey, login.nonce), (client.pubkey(), challenge.nonce));
//! let token = tokens.issue(login.pubkey, now);
//!
//! // Later requests carry the token.
//! let later = now + Duration::from_hours(1);
//! let who = tokens.verify(&token.text, later)?;
//! assert_eq!(who, client.pubkey());
//! assert!(tokens.verify(&token.text, token.expires_at).is_err());
//!
//! // Paid work earns trust, but the gain per day is limited.
//! let policy = TrustPolicy::default();
//! let paid = Interaction::Success { paid: Msats::new(50_000)? };
//! let mut identity = TrustScore::new(who, now);
//! assert_eq!(identity.tier_at(&policy, now), Tier::New);
//! for day in 0..5 {
//!     identity = identity.after(paid, &policy, later + Duration::from_hours(24 * day));
//! }
//! assert_eq!(identity.score, Score::points(10));
//! assert_eq!(identity.tier_at(&policy, later + Duration::from_hours(24 * 5)), Tier::Established);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! `serde` serializes everything that is stored or configured. It is not on by default.

mod age;
mod auth_error;
mod challenge;
mod event;
mod http_auth;
mod login;
mod policy;
mod pubkey;
mod score;
mod secret;
mod signer;
#[cfg(test)]
mod testing;
mod token;
mod trust_score;

pub use auth_error::AuthError;
pub use challenge::{Challenge, Challenges, InvalidNonce, Nonce};
pub use event::{InvalidEvent, VerifiedEvent};
pub use http_auth::{HttpAuth, RequestAuth, SignedRequest, check_http_auth, check_signed_request};
pub use login::{Login, Site};
pub use policy::TrustPolicy;
pub use pubkey::{InvalidPubkey, NostrPubkey};
pub use score::{InvalidScore, Score, Tier, UnknownTier};
pub use secret::{MacKey, Secret, Secrets, ShortSecret};
pub use signer::{InvalidSecretKey, SecretKey};
pub use token::{Audience, AudienceNames, IdentityToken, IdentityTokens, InvalidToken};
pub use trust_score::{Interaction, TrustScore};

pub use tithe_clock;
pub use tithe_money;
