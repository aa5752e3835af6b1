//! How many requests an address may send.

use super::AddressBlock;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How many seconds' worth of requests may come at once.
const BURST_SECONDS: u32 = 10;

/// After how many requests addresses are forgotten that have been quiet.
const FORGET_EVERY: usize = 10_000;

/// The requests of each address.
pub(super) struct RateLimit {
    limiter: DefaultKeyedRateLimiter<AddressBlock>,
    clock: DefaultClock,
    admitted: AtomicUsize,
}

impl RateLimit {
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        let burst = per_second.saturating_mul(NonZeroU32::MIN.saturating_add(BURST_SECONDS - 1));
        let limiter = DefaultKeyedRateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst));
        Self { limiter, clock: DefaultClock::default(), admitted: AtomicUsize::new(0) }
    }

    /// Admits a request, or returns how long to wait.
    pub(super) fn admit(&self, client: AddressBlock) -> Result<(), Duration> {
        if self.admitted.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        self.limiter.check_key(&client).map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_limited_and_others_are_not() {
        let limit = RateLimit::new(NonZeroU32::MIN);
        let block = |text: &str| AddressBlock::of(text.parse().unwrap());
        let (one, other) = (block("192.0.2.1"), block("192.0.2.2"));
        let admitted = (0..100).filter(|_| limit.admit(one).is_ok()).count();
        assert_eq!(admitted, 10);
        assert!(limit.admit(one).unwrap_err() <= Duration::from_secs(1));
        assert_eq!(limit.admit(other), Ok(()));
    }
}
