//! The HTTP side of a customer.

mod bodies;
mod failure;
mod identity;
mod line;
mod prepaid;
mod receipts;
mod refunds;
mod requests;
mod session;
mod sse;

pub(crate) use bodies::{
    AnswerDelta, Created, Delta, Estimate, FreeTier, HistoryRequest, Invoice, Job, Me, PrepaidSession,
    Problem, Refund, SessionReply, Verified, parse,
};
pub(crate) use failure::Failure;
pub(crate) use line::Line;
pub(crate) use prepaid::{AskRequest, SessionAccess};
pub(crate) use receipts::Receipt;
pub(crate) use refunds::RefundTo;
pub(crate) use requests::{Client, ServerArgs};
pub(crate) use sse::{Event, Events};
