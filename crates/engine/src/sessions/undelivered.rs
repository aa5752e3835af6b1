//! Warnings that were not delivered yet.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tithe_paywall::KeyId;
use tithe_sessions::SessionId;
use tokio::time::Instant;

/// How long a warning that was not delivered rests: this, and twice as long each time; and how often it is tried. All tries take 11 hours.
const FIRST_REST: Duration = Duration::from_secs(20);
const TRIES_MAX: u32 = 12;

/// Warnings that were not delivered yet, on this server.
#[derive(Default)]
pub(super) struct Undelivered(Mutex<HashMap<(SessionId, Option<KeyId>), Undelivery>>);

#[derive(Clone, Copy)]
struct Undelivery {
    tries: u32,
    next: Instant,
}

impl Undelivered {
    pub(super) fn rests(&self, session: SessionId, key: Option<KeyId>) -> bool {
        let undelivered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        undelivered.get(&(session, key)).is_some_and(|undelivery| Instant::now() < undelivery.next)
    }

    /// Counts a try that has failed; returns whether it was the last.
    pub(super) fn failed(&self, session: SessionId, key: Option<KeyId>) -> bool {
        let mut undelivered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tries = undelivered.get(&(session, key)).map_or(0, |undelivery| undelivery.tries) + 1;
        let next = Instant::now() + FIRST_REST * 2_u32.saturating_pow(tries - 1);
        undelivered.insert((session, key), Undelivery { tries, next });
        tries >= TRIES_MAX
    }

    pub(super) fn ended(&self, session: SessionId, key: Option<KeyId>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(session, key));
    }
}
