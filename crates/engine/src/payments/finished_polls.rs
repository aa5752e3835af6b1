//! When polls were last finished on this server.

use std::sync::Mutex;
use tithe_clock::Timestamp;

/// The times at which the last polls began that were finished.
#[derive(Default)]
pub(super) struct FinishedPolls {
    /// Of pending invoices.
    pub(super) pending: Mutex<Option<Timestamp>>,
    /// Of expired ones.
    pub(super) late: Mutex<Option<Timestamp>>,
}
