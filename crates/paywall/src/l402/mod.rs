//! L402: a macaroon and the preimage of a Lightning payment, as proof that one request, or several, were paid for.
//!
//! The server answers 402 with [`challenges`]: a macaroon whose [`Identifier`] has the payment hash in it, and the
//! invoice. The client pays, and sends back the macaroon with the preimage: a [`Credential`]. Verifying it needs no
//! look-up. The source is the protocol specification of L402 (`lightninglabs/L402`), whose older name is LSAT.
//!
//! [`mint`] and [`Credential::verify`] do not know whether the payment arrived, what it bought or whether that was
//! delivered already: that is in the caller's store, by payment hash or by token id.

mod challenge;
mod credential;
mod identifier;

pub use challenge::{InvalidChallenge, challenges};
pub use credential::{Credential, InvalidCredential, Proof, Refused};
pub use identifier::{Identifier, InvalidIdentifier, mint};
