//! Quotes: what requests would cost, and whether they can be taken at all.

mod embeddings;
mod estimate;
mod evaluate;
pub(crate) mod evaluation;
mod price_list;
mod routed;
mod service;
mod unpaid;

pub use estimate::{Estimate, FreeTierPreview};
pub(crate) use evaluate::Evaluated;
pub use price_list::OfferedModel;
pub(crate) use routed::{check_understood, quote_at, rates_at};
pub use service::{Quotes, UnknownModel};
pub(crate) use unpaid::UnpaidRun;
