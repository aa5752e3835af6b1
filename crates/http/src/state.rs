//! What handlers work with.

use crate::PublicUrl;
use crate::problem::Problem;
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::{Engine, EngineError};
use tithe_lightning::TestPayer;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error};

/// What handlers work with. Clones share everything.
#[derive(Clone)]
pub struct AppState {
    /// The use cases.
    pub engine: Arc<Engine>,
    /// Pays invoices for tests; `None`: the dev routes do not exist.
    pub test_payer: Option<Arc<dyn TestPayer>>,
    /// Where clients reach the server; `None`: wherever they say that they have reached it, by `Host`.
    pub public_url: Option<PublicUrl>,
    /// The multi-thread runtime that use cases run on.
    pub runtime: Handle,
    /// Refuses new jobs: the server lets what runs finish, and is then stopped.
    pub draining: CancellationToken,
    /// Ends event streams when the server stops.
    pub stopping: CancellationToken,
}

impl AppState {
    /// Runs a use case to its end, whether or not the client waits for it.
    ///
    /// # Errors
    /// What the use case fails with, as a problem.
    pub async fn run<T: Send + 'static>(
        &self,
        use_case: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, Problem> {
        match self.runtime.spawn(use_case.in_current_span()).await {
            Ok(outcome) => Ok(outcome?),
            Err(failure) => {
                error!(%failure, "a use case did not come to its end");
                Err(Problem::from(EngineError::Internal))
            }
        }
    }

    /// The same, for at most `limit`.
    pub(crate) async fn run_for<T: Send + 'static>(
        &self,
        limit: Duration,
        use_case: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let task = self.runtime.spawn(async move { tokio::time::timeout(limit, use_case).await.ok() });
        task.await.ok().flatten()
    }
}
