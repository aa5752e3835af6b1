//! Sessions of the scheme `Payment` (`draft-lightning-session-00`): a deposit that is opened, used, topped up and closed with the preimage
//! of its payment.
//!
//! A deposit that is offered ([`Sessions::offer_deposit`](super::Sessions::offer_deposit)) is a session of the kind
//! [`Payment`](tithe_sessions::SessionKind::Payment). Opening it sets, once, the invoice that what is left is paid to. Requests of an open
//! session are those of any session. A top-up is another deposit, whose balance is moved to the session.
//!
//! Every node that has forwarded the deposit knows its payment hash and, as soon as it is paid, its preimage; that is all that the draft asks
//! for to use or to close a session. So these two open nothing, and move no money to anybody else: opening, topping up and claiming need the
//! challenge that the deposit was paid for, which never travels over Lightning.

mod close;
mod credential;
mod error;
mod find;
mod offer;
mod offered;
mod open;
mod refund;
mod replenish;
mod return_invoice;
mod session_open;
mod session_top_up_move;
mod top_up;

pub use close::ClosedPaymentSession;
pub use credential::SessionCredential;
pub use error::PaymentSessionError;
pub use offer::NewDeposit;
pub use offered::OfferedDeposit;
pub use open::PaymentSessionAccess;
pub use replenish::Replenish;
pub use session_open::SessionOpen;
pub use session_top_up_move::{SessionTopUpMove, TopUpOutcome};
