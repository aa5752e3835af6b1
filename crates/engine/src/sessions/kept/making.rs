//! The offers with hold invoices that this server is making: the store does not know of them yet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tithe_sessions::KeptTotals;

/// What is being made.
#[derive(Debug, Default)]
pub(in super::super) struct KeptMaking(Mutex<KeptTotals>);

/// One of them, until its invoice is stored, or will never be.
#[derive(Debug)]
pub(in super::super) struct MakingOne {
    making: Arc<KeptMaking>,
    bytes: u64,
}

impl KeptMaking {
    /// Counts one more, of so many bytes. The total is with it; whoever reads it before the store has never seen too little of both.
    pub(super) fn begin(self: &Arc<Self>, bytes: u64) -> (MakingOne, KeptTotals) {
        let mut total = self.lock();
        total.requests = total.requests.saturating_add(1);
        total.bytes = total.bytes.saturating_add(bytes);
        (MakingOne { making: Arc::clone(self), bytes }, *total)
    }

    fn lock(&self) -> MutexGuard<'_, KeptTotals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for MakingOne {
    fn drop(&mut self) {
        let mut total = self.making.lock();
        total.requests = total.requests.saturating_sub(1);
        total.bytes = total.bytes.saturating_sub(self.bytes);
    }
}
