//! Nostr identities, proofs of them, and the trust that they earn.
//!
//! A client proves that it holds a key in one of three ways: it signs a [`Challenge`] of ours ([`Challenges::login`], NIP-42),
//! for which it is given an [`IdentityToken`] to show with its requests ([`IdentityTokens`]), or it signs each request by
//! itself ([`check_http_auth`], NIP-98). Whose key it is makes an [`Identity`]; what its work came to makes its [`Score`] by a
//! [`TrustPolicy`], and the score its [`Tier`].
//!
//! Nothing here reads a clock, draws random bytes or stores anything: time and randomness are parameters. What a caller must
//! keep itself is what was used: a [`Login`]'s nonce and an [`HttpProof`]'s event id prove nothing the second time.
//!
//! ```
//! use std::time::Duration;
//! use tithe_clock::Timestamp;
//! use tithe_money::Msats;
//! use tithe_trust::{
//!     Challenges, Identity, IdentityTokens, Interaction, ProvenEvent, Score, Secret, SecretKey, Secrets, Tier, TrustPolicy,
//! };
//!
//! let now = Timestamp::parse_rfc3339("2026-01-31T12:00:00Z")?;
//! let secrets = Secrets::new(Secret::new("at least 32 random bytes"), vec![]);
//! let challenges = Challenges::new(&secrets, Challenges::LIFE);
//! let tokens = IdentityTokens::new(&secrets, Duration::from_hours(24));
//!
//! // The server gives a challenge and keeps nothing; the client signs it.
//! let challenge = challenges.issue(now, [7; 8]);
//! let client = SecretKey::from_bytes([42; 32])?;
//! let signed = client.login(challenge.nonce, now, [9; 32]);
//!
//! // The server checks what was signed, keeps the nonce as used, and gives a token.
//! let login = challenges.login(&ProvenEvent::parse(&signed)?, now)?;
//! assert_eq!((login.pubkey, login.nonce), (client.pubkey(), challenge.nonce));
//! let token = tokens.issue(login.pubkey, now);
//!
//! // Later requests show the token.
//! let later = now + Duration::from_hours(1);
//! let who = tokens.verify(&token.text, later)?;
//! assert_eq!(who, client.pubkey());
//! assert!(tokens.verify(&token.text, token.expires_at).is_err());
//!
//! // Work that was paid for earns trust, but a day adds only so much.
//! let policy = TrustPolicy::default();
//! let paid = Interaction::Success { paid: Msats::new(50_000)? };
//! let mut identity = Identity::new(who, now);
//! assert_eq!(identity.tier_at(&policy, now), Tier::New);
//! for day in 0..5 {
//!     identity = identity.after(paid, &policy, later + Duration::from_hours(24 * day));
//! }
//! assert_eq!(identity.score, Score::points(10));
//! assert_eq!(identity.tier_at(&policy, later + Duration::from_hours(24 * 5)), Tier::Established);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod challenge;
mod event;
mod http_auth;
mod identity;
mod login;
mod policy;
mod proof;
mod pubkey;
mod score;
mod secret;
mod signer;
#[cfg(test)]
mod testing;
mod token;

pub use challenge::{Challenge, Challenges, InvalidNonce, Nonce};
pub use event::{InvalidEvent, ProvenEvent};
pub use http_auth::{HttpAuth, HttpProof, SignedRequest, check_http_auth};
pub use identity::{Identity, Interaction};
pub use login::{Login, check_site};
pub use policy::TrustPolicy;
pub use proof::InvalidProof;
pub use pubkey::{InvalidPubkey, NostrPubkey};
pub use score::{InvalidScore, Score, Tier};
pub use secret::{MacKey, Secret, Secrets};
pub use signer::{InvalidSecretKey, SecretKey};
pub use token::{IdentityToken, IdentityTokens, InvalidToken};
