//! Slow calls leave a line.

use super::millis;
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// A call of something outside of this process. When it ends, one line says so if it took `limit` or longer: with an answer, with an
/// error, or because nobody waits for it any more.
#[derive(Debug)]
#[must_use = "the call ends when this is dropped"]
pub struct SlowCall {
    system: &'static str,
    call: &'static str,
    limit: Duration,
    began: Instant,
}

impl SlowCall {
    /// A call that begins now: `system` is what is called, such as `wallet`, and `call` what it is to do.
    pub fn begin(system: &'static str, call: &'static str, limit: Duration) -> Self {
        Self { system, call, limit, began: Instant::now() }
    }
}

impl Drop for SlowCall {
    fn drop(&mut self) {
        let Self { system, call, limit, began } = self;
        let took = began.elapsed();
        if took >= *limit {
            warn!(system, call, duration_ms = millis(took), limit_ms = millis(*limit), "slow call");
        }
    }
}
