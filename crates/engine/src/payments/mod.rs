//! Payments: invoices, and the money that arrives for them, for any owner.
//!
//! An invoice belongs to an owner (a job, for example), which its purpose names. Issuing, crediting and expiring invoices, and
//! late, short and repeated payments, are the same for all owners; what the owner does next is its own affair
//! ([`PaymentOwner`]). Payments are learned of from the wallet's events, from polling, and when a customer asks; whichever
//! comes first is credited.

mod finished_polls;
mod held;
mod held_window;
mod hold_keys;
mod invoice_expire;
mod invoice_issue;
mod invoices;
mod listen;
mod lookup;
mod mint;
mod owner;
mod payment_credit;
mod payment_hold;
mod poll;
mod recently_checked;
mod schedule;
mod service;

pub(crate) use held::{HELD_NTH, HoldOutcome, hold_rest};
pub(crate) use held_window::HeldWindow;
pub(crate) use hold_keys::HoldKeys;
pub use invoice_expire::{InvoiceExpire, InvoiceExpired};
pub use invoice_issue::{InvoiceIssue, Issued};
pub use mint::{MintError, NewInvoice};
pub use owner::{OwnerIssue, OwnerLookup, PaymentHeld, PaymentOwner, PaymentStep};
pub use payment_credit::{Credited, PaymentCredit};
pub use payment_hold::PaymentHold;
pub use service::Payments;
