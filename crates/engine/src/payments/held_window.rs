//! How long a payment is held.

use super::held::HOLD_WINDOW;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_lightning::HeldPayment;

/// What is left before the payment goes back by itself: the settlement needs time, too.
const BEFORE_DEADLINE: Duration = Duration::from_mins(1);

/// How long a payment is held at a wallet that does not say until when.
const WITHOUT_DEADLINE: Duration = Duration::from_mins(2);

/// With less than this, work is not begun.
const LEFT_MIN: Duration = Duration::from_mins(1);

/// The time within which the work of a held payment must be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldWindow {
    until: Timestamp,
    now: Timestamp,
}

impl HeldWindow {
    /// The window of a payment that is seen now: until a minute before it goes back, and at most ten minutes.
    pub(crate) fn of(payment: &HeldPayment, now: Timestamp) -> Self {
        let until = match payment.held_until {
            Some(held_until) => (held_until - BEFORE_DEADLINE).min(now + HOLD_WINDOW),
            None => now + WITHOUT_DEADLINE,
        };
        Self { until, now }
    }

    /// The window, if it must end after `most` anyway.
    pub(crate) fn at_most(self, most: Duration) -> Self {
        Self { until: self.until.min(self.now + most), ..self }
    }

    /// A window that ends then.
    pub(crate) const fn until_then(until: Timestamp, now: Timestamp) -> Self {
        Self { until, now }
    }

    /// When the work must be done.
    pub(crate) const fn until(self) -> Timestamp {
        self.until
    }

    /// How long it still is.
    pub(crate) fn left(self) -> Duration {
        self.until.since(self.now)
    }

    /// Whether work can be begun.
    pub(crate) fn is_long_enough(self) -> bool {
        self.left() >= LEFT_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_lightning::PaymentHash;
    use tithe_money::Msats;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn window(held_for: Option<Duration>) -> HeldWindow {
        let (payment_hash, amount) = (PaymentHash::from_bytes([1; 32]), Msats::ZERO);
        HeldWindow::of(&HeldPayment { payment_hash, amount, held_until: held_for.map(|it| NOW + it) }, NOW)
    }

    #[test]
    fn a_payment_is_held_for_minutes_and_never_to_its_deadline() {
        assert_eq!(window(Some(Duration::from_hours(2))).left(), Duration::from_mins(10));
        assert_eq!(window(Some(Duration::from_mins(5))).left(), Duration::from_mins(4));
        assert_eq!(window(None).left(), Duration::from_mins(2));
    }

    #[test]
    fn work_is_not_begun_in_the_last_minute() {
        assert!(window(Some(Duration::from_mins(2))).is_long_enough());
        assert!(!window(Some(Duration::from_secs(119))).is_long_enough());
        assert!(!window(Some(Duration::from_secs(5))).is_long_enough(), "the deadline is before the margin");
    }
}
