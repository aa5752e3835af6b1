//! The state that handlers share.

use crate::PublicUrl;
use crate::problem::Problem;
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::{Engine, EngineError};
use tithe_lightning::TestPayer;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error};

/// The state that handlers share. Clones share the same state.
#[derive(Clone)]
pub struct AppState {
    /// The use cases.
    pub engine: Arc<Engine>,
    /// The payer for test payments; `None` means that the dev routes do not exist.
    pub test_payer: Option<Arc<dyn TestPayer>>,
    /// The URL at which clients reach the server; `None` means that only requests from this machine can be signed.
    pub public_url: Option<PublicUrl>,
    /// The multi-thread runtime that use cases run on.
    pub runtime: Handle,
    /// Rejects new jobs while the server finishes its running work before it stops.
    pub draining: CancellationToken,
    /// Ends event streams when the server stops.
    pub stopping: CancellationToken,
}

impl AppState {
    /// Runs a use case to completion, even if the client disconnects.
    ///
    /// # Errors
    /// Returns the error of the use case, as a problem.
    pub async fn run<T: Send + 'static>(
        &self,
        use_case: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, Problem> {
        match self.runtime.spawn(use_case.in_current_span()).await {
            Ok(outcome) => Ok(outcome?),
            Err(failure) => {
                error!(%failure, "use case aborted");
                Err(Problem::from(EngineError::Internal))
            }
        }
    }

    /// Runs a use case with a time limit. Returns `None` if it times out or is aborted.
    pub(crate) async fn run_for<T: Send + 'static>(
        &self,
        limit: Duration,
        use_case: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let task = self.runtime.spawn(async move { tokio::time::timeout(limit, use_case).await.ok() });
        task.await.ok().flatten()
    }
}
