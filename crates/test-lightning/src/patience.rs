//! Waiting for conditions that nobody announces.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::LightningError;

/// Generous: a machine that builds at the same time is slow.
pub const TIME_LIMIT: Duration = Duration::from_mins(1);

const INTERVAL: Duration = Duration::from_millis(2);

/// Waits until `condition` holds; `what` names it in the error.
pub async fn eventually(
    what: &'static str,
    mut condition: impl FnMut() -> bool,
) -> Result<(), LightningError> {
    let deadline = Instant::now() + TIME_LIMIT;
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !condition() {
        if Instant::now() >= deadline {
            return Err(LightningError::TimedOut(what));
        }
        ticks.tick().await;
    }
    Ok(())
}
