//! How long blocks take.

use std::time::Duration;
use tithe_clock::Timestamp;

/// The blocks before its deadline that a payment is not relied on to be held. Alby Hub reports the expiry of the payment for LND,
/// which gives it back 12 blocks before; the rest is for blocks that follow each other fast.
const MARGIN: u32 = 15;

/// How long a block takes at least, when many are counted: the average is ten minutes.
const BLOCK_TIME_MIN: Duration = Duration::from_mins(2);

/// A time before which a payment with this deadline is most unlikely to go back: the chance is less than one in ten thousand.
pub(crate) fn held_until(deadline: u32, height: u32, now: Timestamp) -> Timestamp {
    let blocks = deadline.saturating_sub(height).saturating_sub(MARGIN);
    now + BLOCK_TIME_MIN.saturating_mul(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chance that so many blocks or more come in this time, if a block takes ten minutes on average.
    fn chance(blocks: u32, time: Duration) -> f64 {
        let mean = time.as_secs_f64() / 600.0;
        let mut term = (-mean).exp();
        let mut fewer = 0.0;
        for n in 0..blocks {
            fewer += term;
            term *= mean / f64::from(n + 1);
        }
        1.0 - fewer
    }

    #[test]
    fn a_deadline_is_hardly_ever_before_the_time_that_is_told() {
        let now = Timestamp::UNIX_EPOCH;
        for blocks in 0..500 {
            // Of LND, the deadline is in truth 12 blocks earlier.
            let time = held_until(800_000 + blocks, 800_000, now).since(now);
            let left = blocks.saturating_sub(12);
            assert!(time.is_zero() || chance(left, time) < 1e-4, "{blocks} blocks, {time:?}");
        }
        assert!(held_until(41, 0, now).since(now) > Duration::from_mins(45), "the common delta is enough");
        assert_eq!(held_until(5, 9, now), now);
    }
}
