//! Metered work: one request is evaluated and done while its customer waits, and what nobody pays for is booked.
//!
//! It is the same for every payer. Whoever pays sets something aside before, and settles what was done after it.

mod call;
mod embed;
mod failure;
mod prompt;
mod quotes;
mod slots;
mod work;

pub(crate) use failure::Failure;
pub use prompt::Prompt;
pub(crate) use quotes::MeteredQuotes;
pub(crate) use slots::{RequestSlots, WorkSlots};
pub use work::{Client, Delivered, Listener};
pub(crate) use work::{Done, MeteredRequest, Worked};
