//! The HTTP authentication scheme `Payment`, with the method `lightning`: challenges, credentials, receipts and problems.
//!
//! The server answers 402 with a [`Challenge`], issued with a [`ChallengeKey`]: its id is a MAC over everything in it, so
//! that what a client sends back can be verified without a look-up. The client pays, and sends a [`Credential`]: the
//! challenge again, and a preimage. [`Credential::verify`] gives a [`Proof`]; a paid response carries a [`Receipt`].
//!
//! Sources: `draft-httpauth-payment-00` (the scheme), `draft-lightning-charge-00` (one payment, one request) and
//! `draft-lightning-session-00` (a deposit, many requests). A session here is that of the draft.

mod accept;
mod action;
mod answer;
mod base64url;
mod challenge;
mod challenge_key;
mod charge;
mod content_digest;
mod credential;
mod event;
mod fields;
mod intent;
mod issue;
mod message;
mod parse;
mod problem;
mod proof;
mod receipt;
mod refused;
mod session;
#[cfg(test)]
mod vectors;

pub use accept::{AcceptPayment, InvalidAcceptPayment};
pub use action::SessionAction;
pub use challenge::{Challenge, InvalidChallenge};
pub use challenge_key::ChallengeKey;
pub use charge::{ChargeRequest, ChargeTerms, Network};
pub use content_digest::{ContentDigest, InvalidContentDigest};
pub use credential::{Credential, InvalidCredential};
pub use event::{NeedTopUp, StreamReceipt};
pub use fields::InvalidField;
pub use intent::{Intent, UnknownIntent};
pub use issue::{NewChallenge, Request};
pub use problem::Problem;
pub use proof::{Paid, Proof};
pub use receipt::{InvalidReceipt, Receipt, Refund, RefundStatus};
pub use refused::Refused;
pub use session::SessionRequest;

/// The payment method of everything here, as it is in challenges.
pub const METHOD: &str = "lightning";
