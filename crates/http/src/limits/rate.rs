//! How often something may be done by each of many.

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How many seconds' worth of requests may come at once.
const BURST_SECONDS: u32 = 10;

/// After how many times those are forgotten who have been quiet.
const FORGET_EVERY: usize = 10_000;

/// How often something may be done, such as requests of each address.
pub(super) struct RateLimit<K: Hash + Eq + Clone> {
    limiter: DefaultKeyedRateLimiter<K>,
    clock: DefaultClock,
    admitted: AtomicUsize,
}

impl<K: Hash + Eq + Clone> RateLimit<K> {
    /// So many in a second on average, and ten times as many at once.
    pub(super) fn per_second(rate: NonZeroU32) -> Self {
        let burst = rate.saturating_mul(NonZeroU32::MIN.saturating_add(BURST_SECONDS - 1));
        Self::new(Quota::per_second(rate).allow_burst(burst))
    }

    pub(super) fn new(quota: Quota) -> Self {
        let limiter = DefaultKeyedRateLimiter::keyed(quota);
        Self { limiter, clock: DefaultClock::default(), admitted: AtomicUsize::new(0) }
    }

    /// Admits one more, or returns how long to wait.
    pub(super) fn admit(&self, client: &K) -> Result<(), Duration> {
        if self.admitted.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        self.limiter.check_key(client).map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_limited_and_others_are_not() {
        let limit = RateLimit::per_second(NonZeroU32::MIN);
        let (one, other) = (&1, &2);
        let admitted = (0..100).filter(|_| limit.admit(one).is_ok()).count();
        assert_eq!(admitted, 10);
        assert!(limit.admit(one).unwrap_err() <= Duration::from_secs(1));
        assert_eq!(limit.admit(other), Ok(()));
    }
}
