//! Plain requests, one at a time, that an install's plan includes or that the pool pays for.
//!
//! A request is two commands around the work:
//!
//! 1. `AskBegin`: the payer sets something aside (an install a credit, the pool the most that the work can cost), the signature of the
//!    request is consumed, and its idempotency key points at it.
//! 2. The work runs, on the backend that the credit names. The lease of what was set aside is renewed meanwhile.
//! 3. `AskFinish`: what was set aside ends, what was done is settled, and the response is stored for the key.
//!
//! A request that fails has `AskRelease` instead of 3, which gives back what was set aside.
//!
//! A crash between 1 and 3 costs the customer nothing: the lease runs out, and a sweep gives back what was set aside.

mod ask;
mod ask_begin;
mod ask_finish;
mod ask_release;
mod ask_renew;
mod begin;
mod new_ask;
mod payer;
mod service;

pub use ask_begin::{AskBegin, AskBegun};
pub use ask_finish::{AskEnded, AskFinish, AskOutcome, FinishedAsk, RenderAsk};
pub use ask_release::AskRelease;
pub use ask_renew::AskRenew;
pub use new_ask::NewAsk;
pub use payer::{AskPayer, NewAskPayer};
pub use service::Asks;
