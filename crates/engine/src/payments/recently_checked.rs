//! When invoices were last looked up for a reader.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_lightning::PaymentHash;

/// How long an invoice is not looked up again for a reader.
const READ_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// When invoices were last looked up for a reader, so that reading in a loop puts no load on the wallet.
#[derive(Default)]
pub(super) struct RecentlyChecked(Mutex<HashMap<PaymentHash, Timestamp>>);

impl RecentlyChecked {
    /// Whether this invoice is due to be looked up again; if so, it counts as looked up now.
    pub(super) fn is_due(&self, hash: PaymentHash, now: Timestamp) -> bool {
        let mut checked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.get(&hash).is_some_and(|at| now.since(*at) < READ_CHECK_INTERVAL && *at <= now) {
            return false;
        }
        if checked.len() > 10_000 {
            checked.retain(|_, at| now.since(*at) < READ_CHECK_INTERVAL);
        }
        checked.insert(hash, now);
        true
    }
}
