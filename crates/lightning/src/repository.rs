//! The repository port for invoices.

use crate::{Invoice, PaymentHash};
use async_trait::async_trait;
use tithe_clock::Timestamp;

/// The times after `after` and up to `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiryWindow {
    /// The time before the window.
    pub after: Timestamp,
    /// The last time of the window.
    pub until: Timestamp,
}

impl ExpiryWindow {
    /// Returns true if `at` lies within the window.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.after < at && at <= self.until
    }
}

/// Reads invoices. They are written by the engine's batches, together with what they pay for.
#[async_trait]
pub trait InvoiceRepository: Send + Sync {
    /// The error of a failed read.
    type Error;

    /// The invoice with this payment hash, or `None`.
    async fn invoice(&self, payment_hash: PaymentHash) -> Result<Option<Invoice>, Self::Error>;

    /// Pending invoices whose hash comes after `after`, ordered by hash, at most `limit`. An empty list means that
    /// there are no more.
    async fn invoices_pending(
        &self,
        after: Option<PaymentHash>,
        limit: usize,
    ) -> Result<Vec<Invoice>, Self::Error>;

    /// Invoices that are expired unpaid and whose time ended within `window`, ordered by that time, then by hash, at most `limit`;
    /// with `after`, those that come after it. A payment that was in flight may still arrive.
    async fn invoices_expired(
        &self,
        window: ExpiryWindow,
        after: Option<(Timestamp, PaymentHash)>,
        limit: usize,
    ) -> Result<Vec<Invoice>, Self::Error>;

    /// The number of pending invoices whose time is not over at `now`.
    async fn invoices_open_count(&self, now: Timestamp) -> Result<u64, Self::Error>;
}
