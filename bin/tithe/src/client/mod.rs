//! The HTTP side of a customer.

mod bodies;
mod failure;
mod identity;
mod line;
mod prepaid;
mod requests;
mod session;
mod sse;

pub(crate) use bodies::{
    AnswerDelta, Created, Delta, Estimate, FreeTier, Invoice, Job, Me, Problem, SessionReply, Verified, parse,
};
pub(crate) use failure::Failure;
pub(crate) use line::Line;
pub(crate) use prepaid::{AskRequest, SessionAccess};
pub(crate) use requests::{Client, ServerArgs};
pub(crate) use sse::{Event, Events};
