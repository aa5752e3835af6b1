//! The prepaid session: a balance that many requests draw on, or that pays for one request, as pure functions.
//!
//! `awaiting_payment → active ⇄ exhausted → closed | expired`. A [`Session`] says what its money is for: the deposit and the
//! top-ups that were paid in, which invoice is unpaid, and what is refunded at its end. The balance is a guarded account of the
//! ledger; what a request may cost is set aside there by a hold. A [`SessionRequest`] is one piece of work that is charged to the
//! session. A [`KeptRequest`] is one that is done before its payment is taken.
//!
//! Nothing here reads a clock or a database: a function takes a value and the time, and returns the next value or the reason why
//! there is none.
//!
//! # Features
//!
//! `serde` serializes everything that is stored; `ports` has the repository port (`async-trait`). Neither is on by default.

mod deposit;
mod id;
mod kept;
mod key;
mod kind;
#[cfg(feature = "ports")]
mod repository;
mod request;
mod session;
mod warning;

pub use id::SessionId;
pub use kept::{
    KeptAnswer, KeptLease, KeptRequest, KeptState, KeptStateName, KeptTotals, NewKeptRequest, SentRequest,
    UnknownKeptState,
};
pub use key::{PresentedKey, SessionKey, SessionKeyId};
pub use kind::{OneRequest, PaymentSession, RequestTerms, SessionKind, SessionKindName, UnknownSessionKind};
#[cfg(feature = "ports")]
pub use repository::{RequestCursor, SessionRepository};
pub use request::{
    ChargeBasis, RequestEnded, RequestId, RequestResult, RequestState, RequestStateName, SessionRequest,
    UnknownRequestState,
};
pub use session::{NewSession, Session, SessionEnd, SessionError, SessionState, StateName, UnknownState};
pub use warning::{InvalidWebhookUrl, UsageLevel, Warned, WebhookUrl};

pub use tithe_clock;
pub use tithe_lightning;
pub use tithe_money;
pub use tithe_paywall;
pub use tithe_pricing;
pub use tithe_trust;
pub use uuid;
