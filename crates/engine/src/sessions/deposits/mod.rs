//! Sessions of the scheme `Payment` (`draft-lightning-session-00`): a deposit that is opened, used, topped up and closed with the preimage
//! of its payment.
//!
//! A deposit that is offered ([`Sessions::offer_deposit`](super::Sessions::offer_deposit)) is a session of the kind
//! [`Payment`](tithe_sessions::SessionKind::Payment). Opening it sets, once, the invoice that what is left is paid to.

mod close;
mod credential;
mod error;
mod offer;
mod open;
mod refund;
mod replenish;
mod top_up;

pub use close::ClosedPaymentSession;
pub use credential::SessionCredential;
pub use error::PaymentSessionError;
pub use offer::{NewDeposit, OfferedDeposit};
pub use open::PaymentSessionAccess;
pub use replenish::Replenish;
pub use top_up::TopUpOutcome;
