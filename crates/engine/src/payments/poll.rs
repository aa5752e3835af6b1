//! Looking up all unpaid invoices.

use super::service::Payments;
use crate::error::EngineError;
use futures_util::StreamExt;
use std::sync::atomic::{AtomicBool, Ordering};
use tithe_clock::Timestamp;
use tracing::warn;

/// How many invoices one page of a poll has, and how many of them are looked up at once.
const POLL_PAGE: usize = 200;
const POLL_PARALLEL: usize = 8;

/// Which invoices a poll looks up.
#[derive(Debug, Clone, Copy)]
enum Unpaid {
    /// Those that can be paid.
    Pending,
    /// Those that have expired at or after this time.
    Expired { since: Timestamp },
}

impl Payments {
    /// Looks all pending invoices up once.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer. What the wallet does not answer is left for the next time.
    pub async fn poll(&self) -> Result<(), EngineError> {
        self.poll_all(Unpaid::Pending).await
    }

    /// Looks up invoices that expired recently: a payment may have been in flight.
    ///
    /// # Errors
    /// As [`Payments::poll`].
    pub async fn poll_late(&self) -> Result<(), EngineError> {
        self.poll_all(Unpaid::Expired { since: self.late_since() }).await
    }

    /// Looks up every invoice of all pages, until the wallet no longer answers.
    async fn poll_all(&self, which: Unpaid) -> Result<(), EngineError> {
        let store = &self.core.ports.store;
        let mut after = None;
        loop {
            let invoices = match which {
                Unpaid::Pending => store.invoices_pending(after, POLL_PAGE).await?,
                Unpaid::Expired { since } => store.invoices_expired(since, after, POLL_PAGE).await?,
            };
            let Some(last) = invoices.last() else { return Ok(()) };
            after = Some(last.payment_hash);
            let answered = AtomicBool::new(false);
            futures_util::stream::iter(&invoices)
                .for_each_concurrent(POLL_PARALLEL, |invoice| async {
                    if self.check(invoice).await.is_ok() {
                        answered.store(true, Ordering::Relaxed);
                    }
                })
                .await;
            if !answered.load(Ordering::Relaxed) {
                warn!("the wallet does not answer; unpaid invoices will be looked up later");
                return Ok(());
            }
        }
    }
}
