//! Creating what is paid for by an invoice: a job, a session, a node.
//!
//! It is a saga of three steps:
//!
//! 1. The command that records it is committed: `JobCreate`, `SessionCreate`, `BootstrapCreate`. It has no invoice yet, and the
//!    client's idempotency key points at it.
//! 2. The wallet makes the first invoice, under an id that follows from the owner's id.
//! 3. `InvoiceIssue` is committed: the invoice, the owner's step, and the response that the key will replay.
//!
//! A crash after 1 leaves something that nobody was shown: a retry with the same key resumes it with 2; without a retry, the sweep
//! abandons it. A crash after 2 leaves an invoice at the wallet that nobody was shown. No money can be lost, because an invoice is
//! shown only after 3.

mod record;
mod saga;

pub(crate) use record::NewPurchase;
pub(crate) use saga::{Buyer, Purchase, Purchased, Purchases};
