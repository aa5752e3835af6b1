//! The HTTP side of a customer.

mod bodies;
mod failure;
mod identity;
mod line;
mod requests;
mod session;
mod sse;

pub(crate) use bodies::{Created, Delta, Estimate, FreeTier, Invoice, Job, Me, Verified, parse};
pub(crate) use failure::Failure;
pub(crate) use requests::{Client, ServerArgs};
pub(crate) use sse::Event;
