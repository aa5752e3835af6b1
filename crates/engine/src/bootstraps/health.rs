//! What is known of the provisioner.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long it is taken for true that the provisioner works, and that it does not.
const WORKS_FOR: Duration = Duration::from_secs(30);
const FAILS_FOR: Duration = Duration::from_mins(1);

/// What was last found out about the provisioner.
#[derive(Default)]
pub(super) struct ProvisionerHealth(Mutex<Option<(Instant, bool)>>);

impl ProvisionerHealth {
    /// What is known; `None` when it is to be found out.
    pub(super) fn known(&self) -> Option<bool> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.filter(|(until, _)| Instant::now() < *until).map(|(_, works)| works)
    }

    /// Remembers that it works, or that it does not.
    pub(super) fn set(&self, works: bool) {
        let until = Instant::now() + if works { WORKS_FOR } else { FAILS_FOR };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((until, works));
    }
}
