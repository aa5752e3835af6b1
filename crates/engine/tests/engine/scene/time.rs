//! The time of a scene.

use std::time::Duration;
use tithe_clock::{Clock, ManualClock, Timestamp};
use tokio::time::Instant;

/// A clock that goes with the test's runtime (paused or not), and jumps when it is told to.
pub struct SceneClock {
    jumps: ManualClock,
    started: Instant,
}

impl SceneClock {
    pub fn start() -> Self {
        let start = Timestamp::parse_rfc3339("2026-11-20T12:00:00Z").unwrap();
        Self { jumps: ManualClock::at(start), started: Instant::now() }
    }

    /// Jumps forward. Timers of the runtime stay as they are.
    pub fn advance(&self, by: Duration) {
        self.jumps.advance(by);
    }
}

impl Clock for SceneClock {
    fn now(&self) -> Timestamp {
        self.jumps.now() + self.started.elapsed()
    }
}
