//! Quotes: what requests would cost, and whether they can be taken at all.

mod estimate;
pub(crate) mod evaluation;
mod service;

pub use estimate::{Estimate, FreeTierPreview};
pub use service::{Quotes, UnknownModel};
