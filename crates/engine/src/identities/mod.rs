//! Identities: authentication, and the trust and budget of each identity.
//!
//! Issuing a challenge writes nothing, and a token is checked without the database. What may be used once (the nonce of a
//! challenge, a signed request) is consumed by a command, which only one of any number of servers can do.

mod auth_nonce_consume;
mod authenticate;
mod login;
mod rows;
mod service;
mod view;

pub use auth_nonce_consume::{AuthNonceConsume, RequestSignature};
pub use authenticate::{Credentials, Presented, SignedCredential};
pub use login::{LoggedIn, LoginRequest};
pub use service::Identities;
pub use view::IdentityView;
