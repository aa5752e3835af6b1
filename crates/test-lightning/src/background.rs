//! Threads of our own, so that servers answer while a test blocks its thread, and survive the end of its runtime.

use std::future::Future;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::LightningError;
use crate::error::Doing;

/// A runtime that ends, with all its tasks, when it is dropped. It may be dropped inside another runtime.
#[derive(Debug)]
pub struct Background(Option<Runtime>);

impl Background {
    /// Starts the threads.
    pub fn start() -> Result<Self, LightningError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("tithe-test-lightning")
            .enable_all()
            .build()
            .doing("starting a runtime")?;
        Ok(Self(Some(runtime)))
    }

    /// Spawns a task.
    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Option<JoinHandle<T>> {
        self.0.as_ref().map(|runtime| runtime.spawn(task))
    }

    /// Runs a task on these threads and waits for its result.
    pub async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, LightningError>> + Send + 'static,
    ) -> Result<T, LightningError> {
        let task = self.spawn(task).ok_or(LightningError::Stopped)?;
        task.await.map_err(|_| LightningError::Stopped)?
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
