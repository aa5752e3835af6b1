//! Waiting for conditions.

use std::time::{Duration, Instant};

/// How long anything may take that is to happen soon.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// The pause between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until `look` finds something; panics after `limit`.
pub(crate) async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(PAUSE).await;
    }
}
