//! Receipts: what a piece of work was charged, for whoever may read the work. Statements: what a period was, for the operator.

mod charges;
mod find;
mod receipt;
mod service;
mod statement;

pub use charges::ChargeAmounts;
pub use receipt::{ChargedPart, Part, Receipt, ReceiptOutcome, ReceiptPayment, WorkKind};
pub use service::{ReceiptOf, ReceiptPayer, ReceiptReader, Receipts};
pub use statement::{LineKind, Statement, StatementLine};
