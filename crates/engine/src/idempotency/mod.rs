//! Idempotency keys: a keyed request is done once, and repeating it returns the first response.

mod begin;
mod finish;
mod keys;
mod release;
mod service;

pub use begin::{IdempotencyBegin, KeyBegun};
pub use finish::IdempotencyFinish;
pub use release::IdempotencyRelease;
pub(crate) use service::Attached;
pub use service::{Idempotency, KeyedResponse, Seen};
