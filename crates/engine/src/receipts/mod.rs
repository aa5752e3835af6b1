//! Receipts: what a piece of work was charged, for whoever may read the work.

mod charges;
mod find;
mod receipt;
mod service;

pub use charges::ChargeAmounts;
pub use receipt::{ChargedPart, Part, Receipt, ReceiptOutcome, ReceiptPayment, WorkKind};
pub use service::{ReceiptReader, Receipts};
