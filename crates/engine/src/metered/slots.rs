//! How many metered requests this server works on at once.

use super::prompt::Prompt;
use crate::error::EngineError;
use crate::mounts::MountPath;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many requests may wait for a slot, and for how long.
const WAITING_MAX: usize = 512;
const PATIENCE: Duration = Duration::from_secs(25);

/// Of so many slots, one may be taken by an answer that waits for a top-up, and is not worked on: an eighth of them, at least one, and none if
/// there is only one slot.
const DRY_SHARE: usize = 8;

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

/// The slots of requests by what does their work: the models, and each mounted route for itself, so that a service that is slow keeps
/// nobody from others.
pub(crate) struct WorkSlots {
    slots: usize,
    models: RequestSlots,
    /// The places of the answers that wait for a top-up.
    dry: Arc<Semaphore>,
    routes: Mutex<HashMap<MountPath, Arc<RequestSlots>>>,
}

impl WorkSlots {
    /// So many slots for each.
    pub(crate) fn new(slots: usize) -> Self {
        let places = if slots < 2 { 0 } else { (slots / DRY_SHARE).max(1) };
        let dry = Arc::new(Semaphore::new(places));
        Self { slots, models: RequestSlots::new(slots), dry, routes: Mutex::default() }
    }

    /// A place for an answer that keeps its slot while it waits for a top-up; `None` if too many do. It is free again when the permit is dropped.
    pub(crate) fn place_to_wait(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.dry).try_acquire_owned().ok()
    }

    /// Takes a slot for this work.
    ///
    /// # Errors
    /// As [`RequestSlots::take`].
    pub(crate) async fn take_for(&self, prompt: &Prompt) -> Result<OwnedSemaphorePermit, EngineError> {
        let Some(call) = prompt.as_call() else { return self.models.take().await };
        let slots = {
            let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
            // The configuration names all routes.
            let slots = routes.entry(call.mount.path.clone());
            Arc::clone(slots.or_insert_with(|| Arc::new(RequestSlots::new(self.slots))))
        };
        slots.take().await
    }
}
