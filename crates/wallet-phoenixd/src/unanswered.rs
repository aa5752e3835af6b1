//! Payments that were handed to phoenixd and not answered.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_lightning::PaymentHash;

/// For how long a request may still be on its way to phoenixd, or in its queue, before there is a record of the payment.
const ON_ITS_WAY_MAX: Duration = Duration::from_mins(1);

/// The payment hashes of recent requests without an answer. As long as such a request may be on its way, that phoenixd has no
/// record of the payment does not mean that it will not be made.
#[derive(Debug, Default)]
pub(crate) struct Unanswered(Mutex<HashMap<PaymentHash, Timestamp>>);

impl Unanswered {
    /// A request is about to be sent. If the caller drops it, it stays unanswered.
    pub fn sent(&self, payment_hash: PaymentHash, now: Timestamp) {
        let mut sent = self.lock();
        sent.retain(|_, since| now.since(*since) < ON_ITS_WAY_MAX);
        sent.insert(payment_hash, now);
    }

    /// The outcome of the request is known.
    pub fn answered(&self, payment_hash: PaymentHash) {
        self.lock().remove(&payment_hash);
    }

    /// Whether a request may be on its way.
    pub fn may_arrive(&self, payment_hash: PaymentHash, now: Timestamp) -> bool {
        self.lock().get(&payment_hash).is_some_and(|since| now.since(*since) < ON_ITS_WAY_MAX)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PaymentHash, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_on_its_way_for_a_minute_or_until_it_is_answered() {
        let [first, second] = [[1; 32], [2; 32]].map(PaymentHash::from_bytes);
        let start = Timestamp::UNIX_EPOCH;
        let unanswered = Unanswered::default();
        unanswered.sent(first, start);
        unanswered.sent(second, start);
        unanswered.answered(second);
        let late = start + Duration::from_secs(59);
        assert!(unanswered.may_arrive(first, late) && !unanswered.may_arrive(second, late));
        let over = start + Duration::from_mins(1);
        assert!(!unanswered.may_arrive(first, over));
        unanswered.sent(second, over);
        assert_eq!(unanswered.lock().len(), 1, "the old one is forgotten");
    }
}
