//! The payments that were handed to a relay and that the wallet may still carry out.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tithe_clock::Timestamp;
use tithe_lightning::PaymentHash;

/// The requests to pay whose outcome is open. A wallet does not know a payment before it has got the request, so that it has
/// no record says nothing until the request has expired.
///
/// They are kept in memory only: after a restart, a request that is still on its way is not known.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<HashMap<PaymentHash, Attempt>>);

/// A request to pay whose outcome is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// When the request can no longer reach the wallet.
    pub until: Timestamp,
    /// Whether the wallet had the record of an earlier attempt that failed.
    pub failed_before: bool,
}

impl Attempts {
    fn lock(&self) -> MutexGuard<'_, HashMap<PaymentHash, Attempt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an attempt; `false` if one is open already.
    pub fn begin(&self, payment_hash: PaymentHash, now: Timestamp, attempt: Attempt) -> bool {
        let mut open = self.lock();
        open.retain(|_, attempt| attempt.until > now);
        let free = !open.contains_key(&payment_hash);
        if free {
            open.insert(payment_hash, attempt);
        }
        free
    }

    /// The attempt that is open, if there is one.
    pub fn open(&self, payment_hash: PaymentHash, now: Timestamp) -> Option<Attempt> {
        self.lock().get(&payment_hash).copied().filter(|attempt| attempt.until > now)
    }

    /// The outcome is known, or nothing was sent.
    pub fn end(&self, payment_hash: PaymentHash) {
        self.lock().remove(&payment_hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_attempt_is_open_until_it_ends_or_expires() {
        let (hash, other) = (PaymentHash::from_bytes([1; 32]), PaymentHash::from_bytes([2; 32]));
        let now = Timestamp::UNIX_EPOCH;
        let attempt = |seconds| Attempt { until: now + Duration::from_secs(seconds), failed_before: false };
        let later = attempt(10).until;
        let attempts = Attempts::default();
        assert!(attempts.begin(hash, now, attempt(10)));
        assert!(!attempts.begin(hash, now, attempt(10)));
        assert!(attempts.begin(other, now, attempt(10)));
        assert_eq!(attempts.open(hash, now), Some(attempt(10)));
        assert_eq!(attempts.open(hash, later), None);
        attempts.end(hash);
        assert_eq!(attempts.open(hash, now), None);
        assert_eq!(attempts.open(other, now), Some(attempt(10)));
        assert!(attempts.begin(hash, now, attempt(10)));
        assert!(attempts.begin(hash, later, attempt(11)));
    }
}
