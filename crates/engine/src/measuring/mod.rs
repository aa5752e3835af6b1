//! Gauges of what the database holds: read every few seconds, on a connection that only reads.
//!
//! What is in progress is read as it is, by its indexes. The sums of the ledger are kept in memory, and only transfers that are new
//! are added to them.

mod gauges;
mod ledger_sums;
mod service;

pub(crate) use service::Measuring;
