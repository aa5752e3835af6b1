//! Time and randomness as parameters.
//!
//! Business rules never read the system time or system randomness: they receive a [`Timestamp`], or a [`Clock`] and an
//! [`Entropy`], so that tests can choose the time and reproduce ids.
//!
//! ```
//! use std::time::Duration;
//! use tithe_clock::{Clock, ManualClock, Timestamp};
//!
//! let clock = ManualClock::at(Timestamp::parse_rfc3339("2026-01-31T12:00:00Z")?);
//! let invoice_expires = clock.now() + Duration::from_secs(600);
//! clock.advance(Duration::from_secs(601));
//! assert!(clock.now() > invoice_expires);
//! # Ok::<(), tithe_clock::TimestampError>(())
//! ```
//!
//! # Features
//!
//! `system` (on by default) has `SystemEntropy`, the operating system's random bytes; `serde` serializes timestamps.

mod entropy;
mod timestamp;

#[cfg(feature = "system")]
pub use entropy::SystemEntropy;
pub use entropy::{Entropy, SeededEntropy};
pub use timestamp::{Timestamp, TimestampError};

use std::sync::Mutex;
use std::time::Duration;

/// A source of the current time.
pub trait Clock: Send + Sync {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// The system clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine for the time")]
    fn now(&self) -> Timestamp {
        Timestamp::from_offset_date_time(time::OffsetDateTime::now_utc())
    }
}

/// A clock that stands still until it is advanced. For tests.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// A clock that shows `start`.
    #[must_use]
    pub const fn at(start: Timestamp) -> Self {
        Self(Mutex::new(start))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let mut now = self.lock();
        *now = *now + by;
    }

    /// Sets the clock, possibly backwards, as happens to real clocks.
    pub fn set(&self, to: Timestamp) {
        *self.lock() = to;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Timestamp> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.lock()
    }
}
