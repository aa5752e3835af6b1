//! The retry policy for a backend.

use std::time::Duration;

/// The retry settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// The maximum number of attempts, including the first; 1 means no retries. Default: 3.
    pub attempts_max: u32,
    /// The delay before the second attempt; it doubles from attempt to attempt. Between half and all of it is waited,
    /// by chance, so that requests that failed together don't come back together. Default: 250 milliseconds.
    pub first_delay: Duration,
    /// The maximum delay between two attempts. Default: 4 seconds.
    pub delay_max: Duration,
    /// The maximum total delay. If the backend requests a longer delay than what is left, there is no further retry.
    /// Default: 10 seconds.
    pub total_delay_max: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            attempts_max: 3,
            first_delay: Duration::from_millis(250),
            delay_max: Duration::from_secs(4),
            total_delay_max: Duration::from_secs(10),
        }
    }
}

/// The retries of one request.
#[derive(Debug)]
pub(super) struct Retries {
    settings: RetrySettings,
    attempts: u32,
    waited: Duration,
}

impl Retries {
    /// The first attempt is in progress.
    pub(super) const fn new(settings: RetrySettings) -> Self {
        Self { settings, attempts: 1, waited: Duration::ZERO }
    }

    /// The delay before the next attempt; `None` if there is none. `retry_after` is the delay requested by the backend,
    /// `random` provides the jitter.
    pub(super) fn next_delay(&mut self, retry_after: Option<Duration>, random: u64) -> Option<Duration> {
        let RetrySettings { attempts_max, first_delay, delay_max, total_delay_max } = self.settings;
        if self.attempts >= attempts_max {
            return None;
        }
        let doubled = first_delay.saturating_mul(2_u32.saturating_pow(self.attempts - 1)).min(delay_max);
        let spread = (doubled / 2).mul_f64(portion(random));
        let delay = doubled.saturating_sub(spread).max(retry_after.unwrap_or_default());
        let waited = self.waited.saturating_add(delay);
        if waited > total_delay_max {
            return None;
        }
        self.attempts += 1;
        self.waited = waited;
        Some(delay)
    }
}

/// Converts random bits to a number from 0 to 1.
fn portion(random: u64) -> f64 {
    let high = u32::try_from(random >> 32).unwrap_or(u32::MAX);
    f64::from(high) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn settings() -> RetrySettings {
        RetrySettings {
            attempts_max: 6,
            first_delay: ms(100),
            delay_max: ms(500),
            total_delay_max: ms(2_000),
        }
    }

    #[test]
    fn delays_double_up_to_the_limit_and_end() {
        let mut retries = Retries::new(settings());
        for delay in [100, 200, 400, 500, 500] {
            assert_eq!(retries.next_delay(None, 0), Some(ms(delay)));
        }
        assert_eq!(retries.next_delay(None, 0), None);
    }

    #[test]
    fn chance_takes_off_at_most_a_half() {
        assert_eq!(Retries::new(settings()).next_delay(None, 0), Some(ms(100)));
        assert_eq!(Retries::new(settings()).next_delay(None, u64::MAX), Some(ms(50)));
    }

    #[test]
    fn the_backends_own_time_is_waited_for_as_long_as_there_is_patience() {
        let mut retries = Retries::new(settings());
        assert_eq!(retries.next_delay(Some(ms(1_500)), 0), Some(ms(1_500)));
        assert_eq!(retries.next_delay(Some(ms(501)), 0), None);
        assert_eq!(retries.next_delay(Some(ms(500)), 0), Some(ms(500)));
        assert_eq!(retries.next_delay(None, 0), None);
    }

    #[test]
    fn one_attempt_means_no_retries() {
        let mut retries = Retries::new(RetrySettings { attempts_max: 1, ..settings() });
        assert_eq!(retries.next_delay(None, 0), None);
    }

    proptest! {
        #[test]
        fn attempts_and_patience_are_never_exceeded(draws in prop::collection::vec(any::<(u64, Option<u16>)>(), 20)) {
            let mut retries = Retries::new(settings());
            let delays: Vec<_> = draws
                .into_iter()
                .filter_map(|(random, after)| retries.next_delay(after.map(|it| ms(it.into())), random))
                .collect();
            prop_assert!(delays.len() <= 5);
            prop_assert!(delays.iter().sum::<Duration>() <= ms(2_000));
        }
    }
}
