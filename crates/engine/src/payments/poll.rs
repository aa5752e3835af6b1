//! Looking up unpaid invoices in rounds.

use super::schedule::{is_due, late_windows};
use super::service::Payments;
use crate::error::EngineError;
use futures_util::StreamExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tithe_clock::Timestamp;
use tithe_lightning::{Invoice, Purpose};
use tracing::warn;

/// How many invoices one page of a poll has, and how many of them are looked up at once.
const POLL_PAGE: usize = 200;
const POLL_PARALLEL: usize = 8;

fn locked(time: &Mutex<Option<Timestamp>>) -> MutexGuard<'_, Option<Timestamp>> {
    time.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Payments {
    /// Looks up the pending invoices that are due: the older they are, the more seldom.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer. What the wallet does not answer is left for the next time.
    pub async fn poll(&self) -> Result<(), EngineError> {
        let (store, now) = (&self.core.ports.store, self.core.now());
        let last = *locked(&self.polls.pending);
        let (mut after, mut answered) = (None, true);
        while answered {
            let mut invoices = store.invoices_pending(after, POLL_PAGE).await?;
            let Some(page_end) = invoices.last() else {
                *locked(&self.polls.pending) = Some(now);
                return Ok(());
            };
            after = Some(page_end.payment_hash);
            invoices.retain(|invoice| is_due(invoice, last, now) || self.is_in_a_hurry(invoice));
            answered = self.look_up(&invoices).await;
        }
        Ok(())
    }

    /// Looks up expired invoices for which it is time to look for a late payment.
    ///
    /// # Errors
    /// As [`Payments::poll`].
    pub async fn poll_late(&self) -> Result<(), EngineError> {
        let (store, now) = (&self.core.ports.store, self.core.now());
        let last = *locked(&self.polls.late);
        let in_flight = self.core.settings.late_payment_window;
        for window in late_windows(self.late_until(), in_flight, last, now) {
            let mut after = None;
            loop {
                let invoices = store.invoices_expired(window, after, POLL_PAGE).await?;
                let Some(page_end) = invoices.last() else { break };
                after = Some((page_end.expires_at, page_end.payment_hash));
                if !self.look_up(&invoices).await {
                    return Ok(());
                }
            }
        }
        *locked(&self.polls.late) = Some(now);
        Ok(())
    }

    /// Whether somebody waits for the answer to a request while their wallet waits for the payment to be taken. There are never more of them than
    /// [`Settings::held_payments_max`](crate::Settings::held_payments_max).
    fn is_in_a_hurry(&self, invoice: &Invoice) -> bool {
        self.core.settings.hold_requests
            && invoice.purpose == Purpose::SessionDeposit
            && self.is_hold_invoice(invoice)
    }

    /// Looks invoices up, several at once; returns whether the wallet answers at all. One that it has no answer for is looked up
    /// again at its next time.
    async fn look_up(&self, invoices: &[Invoice]) -> bool {
        let answers = AtomicUsize::new(0);
        futures_util::stream::iter(invoices)
            .for_each_concurrent(POLL_PARALLEL, |invoice| async {
                if self.check(invoice).await.is_ok() {
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            })
            .await;
        let (asked, answers) = (invoices.len(), answers.load(Ordering::Relaxed));
        if answers < asked {
            warn!(asked, answered = answers, "not all unpaid invoices could be looked up");
        }
        answers > 0 || asked == 0
    }
}
