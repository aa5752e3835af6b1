//! Models that are too slow for a payment that is held.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What takes so long is too slow to be done while a payment is held.
const SLOW: Duration = Duration::from_secs(40);

/// For how long a model counts as slow.
const REMEMBERED_FOR: Duration = Duration::from_hours(1);

/// The models, and the mounted routes, whose requests have taken too long lately, as far as this server knows.
#[derive(Debug, Default)]
pub(in super::super) struct SlowModels(Mutex<HashMap<String, Instant>>);

impl SlowModels {
    /// Notes how long a request took that was paid for by itself.
    pub(in super::super) fn measured(&self, model: &str, took: Duration) {
        if took >= SLOW {
            self.too_slow(model);
        }
    }

    /// Notes that a request was not done in the time that it had, whether its model or the server was too slow.
    pub(super) fn too_slow(&self, model: &str) {
        let until = Instant::now() + REMEMBERED_FOR;
        self.lock().insert(model.to_owned(), until);
    }

    /// Whether requests to a model are likely to take too long.
    pub(super) fn is_slow(&self, model: &str) -> bool {
        let mut slow = self.lock();
        slow.retain(|_, until| Instant::now() < *until);
        slow.contains_key(model)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_model_is_slow_for_an_hour_after_a_request_that_took_too_long() {
        let models = SlowModels::default();
        models.measured("quick", SLOW.saturating_sub(Duration::from_millis(1)));
        models.measured("slow", SLOW);
        models.too_slow("late");
        assert!(models.is_slow("slow") && models.is_slow("late") && !models.is_slow("quick"));
        tokio::time::advance(REMEMBERED_FOR).await;
        assert!(!models.is_slow("slow"));
        assert!(models.lock().is_empty());
    }
}
