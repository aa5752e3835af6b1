//! How many requests of sessions this server works on at once.

use crate::error::EngineError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many requests may wait for a place, and for how long.
const WAITING_MAX: usize = 512;
const PATIENCE: Duration = Duration::from_secs(25);

/// The places of requests that run. A request costs its customer little, and nothing if it fails: without a limit one customer could
/// take the whole backend.
pub(super) struct Places {
    running: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Places {
    pub(super) fn new(places: usize) -> Self {
        Self { running: Arc::new(Semaphore::new(places)), waiting: Semaphore::new(WAITING_MAX) }
    }

    /// A place, until it is dropped.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when too many wait, or there is none for a while.
    pub(super) async fn take(&self) -> Result<OwnedSemaphorePermit, EngineError> {
        let _waits = self.waiting.try_acquire().map_err(|_| EngineError::Busy)?;
        match tokio::time::timeout(PATIENCE, Arc::clone(&self.running).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(EngineError::Busy),
        }
    }
}
