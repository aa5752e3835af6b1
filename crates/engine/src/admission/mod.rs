//! How many jobs and sessions one customer may have that wait for their first payment.
//!
//! Creating one costs the customer nothing and the server an invoice and a row. So whoever pays nothing has only so many at once: an
//! identity that has trust by its key, everybody else by where the request comes from, because keys are free. The limit over all
//! customers is counted in the store, at most once a second while there is room.

mod counts;
mod service;
mod total;

pub use counts::Origin;
pub(crate) use counts::{OfferCounts, UnpaidCounts};
pub(crate) use service::{Admission, Share};
