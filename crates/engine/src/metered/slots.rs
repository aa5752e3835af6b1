//! How many metered requests this server works on at once.

use crate::error::EngineError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many requests may wait for a slot, and for how long.
const WAITING_MAX: usize = 512;
const PATIENCE: Duration = Duration::from_secs(25);

/// The slots of the requests that run. A request costs its customer little, and nothing if it fails: without a limit one customer
/// could occupy the whole backend.
pub(crate) struct RequestSlots {
    running: Arc<Semaphore>,
    waiting: Semaphore,
}

impl RequestSlots {
    pub(crate) fn new(slots: usize) -> Self {
        Self { running: Arc::new(Semaphore::new(slots)), waiting: Semaphore::new(WAITING_MAX) }
    }

    /// Takes a slot. It is free again when the permit is dropped.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when too many requests wait, or none of the running ones ends for a while.
    pub(crate) async fn take(&self) -> Result<OwnedSemaphorePermit, EngineError> {
        let _waits = self.waiting.try_acquire().map_err(|_| EngineError::Busy)?;
        match tokio::time::timeout(PATIENCE, Arc::clone(&self.running).acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => Err(EngineError::Busy),
        }
    }
}
