//! Making each session's offered invoice once.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tithe_sessions::SessionId;

/// The sessions for which an invoice is being made that is offered.
#[derive(Default)]
pub(super) struct Offers(Mutex<HashSet<SessionId>>);

/// An invoice that is being made, until this is dropped.
pub(super) struct Making<'a> {
    offers: &'a Offers,
    session: SessionId,
}

impl Offers {
    /// Begins to make an invoice, unless that has begun.
    pub(super) fn begin(&self, session: SessionId) -> Option<Making<'_>> {
        let is_first = self.lock().insert(session);
        is_first.then(|| Making { offers: self, session })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<SessionId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.offers.lock().remove(&self.session);
    }
}
