//! The state that handlers share.

use crate::PublicUrl;
use crate::admin_token::AdminToken;
use crate::limits::{LimitSettings, Limits};
use crate::metrics_page::MetricsPage;
use crate::problem::{Code, Problem};
use crate::shared_text::SharedTexts;
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::log::{chain, millis};
use tithe_engine::mounts::Mount;
use tithe_engine::{Engine, EngineError};
use tithe_lightning::TestPayer;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, error, warn};

/// How long a request is worked on before its client is told that the server is too busy.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);

/// The state that handlers share. Clones share the same state.
#[derive(Clone)]
pub struct AppState {
    /// The use cases.
    pub engine: Arc<Engine>,
    /// The payer for test payments; `None` means that the dev routes do not exist.
    pub test_payer: Option<Arc<dyn TestPayer>>,
    /// The token that opens the admin API; `None` means that the admin routes do not exist.
    pub admin_token: Option<AdminToken>,
    /// The page of `/metrics` with the token that opens it; `None` means that there is none.
    pub metrics: Option<(AdminToken, MetricsPage)>,
    /// The URLs at which clients reach the server. Without any, only requests from this machine can be signed.
    pub public_urls: Vec<PublicUrl>,
    /// Whether clients on this machine may sign requests to this machine while there are no public URLs. A proxy that says nothing of
    /// itself cannot be told from such a client, so a production server does not accept them.
    pub accepts_local_urls: bool,
    /// The mounted routes. [`crate::check_mounts`] checks them.
    pub mounts: Vec<Arc<Mount>>,
    /// The limits of clients.
    pub(crate) limits: Limits,
    /// What is being sent to readers of ended jobs.
    pub(crate) shared: SharedTexts,
    /// The multi-thread runtime that use cases run on.
    pub runtime: Handle,
    /// Work that goes on without its client. A stopping server waits for it.
    pub work: TaskTracker,
    /// Rejects new jobs while the server finishes its running work before it stops.
    pub draining: CancellationToken,
    /// Cancelled before that: readiness then fails, so that load balancers send no more, while everything is still served.
    pub leaving: CancellationToken,
    /// Ends event streams when the server stops.
    pub stopping: CancellationToken,
}

impl AppState {
    /// The state of a server.
    #[must_use]
    pub fn new(engine: Arc<Engine>, runtime: Handle, limits: LimitSettings) -> Self {
        Self {
            engine,
            test_payer: None,
            admin_token: None,
            metrics: None,
            public_urls: Vec::new(),
            accepts_local_urls: true,
            mounts: Vec::new(),
            limits: Limits::new(limits),
            shared: SharedTexts::default(),
            runtime,
            work: TaskTracker::new(),
            draining: CancellationToken::new(),
            leaving: CancellationToken::new(),
            stopping: CancellationToken::new(),
        }
    }

    /// Runs a use case that only reads to completion, even if the client disconnects. Its result is waited for until the deadline of
    /// requests.
    ///
    /// # Errors
    /// Returns the error of the use case, as a problem.
    pub async fn run<T: Send + 'static>(
        &self,
        use_case: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, Problem> {
        self.within_deadline(EngineError::Busy, use_case).await
    }

    /// Like [`Self::run`], for a use case that changes something: if it takes too long, its outcome is unknown.
    ///
    /// # Errors
    /// Returns the error of the use case, as a problem.
    pub async fn run_change<T: Send + 'static>(
        &self,
        use_case: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, Problem> {
        self.within_deadline(EngineError::OutcomeUnknown, use_case).await
    }

    async fn within_deadline<T: Send + 'static>(
        &self,
        too_late: EngineError,
        use_case: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, Problem> {
        let running = self.runtime.spawn(use_case.in_current_span());
        match tokio::time::timeout(REQUEST_DEADLINE, running).await {
            Ok(Ok(outcome)) => Ok(outcome?),
            Ok(Err(failure)) => {
                error!(error = chain(&failure), "use case aborted");
                Err(Problem::from(EngineError::Internal))
            }
            Err(_elapsed) => {
                warn!(
                    limit_ms = millis(REQUEST_DEADLINE),
                    "use case not finished in time; it goes on without its client"
                );
                Err(Problem::from(too_late))
            }
        }
    }

    /// Refuses new work while the server stops.
    ///
    /// # Errors
    /// [`Code::ShuttingDown`].
    pub(crate) fn refuse_while_draining(&self) -> Result<(), Problem> {
        if self.draining.is_cancelled() {
            let detail = "the server is shutting down and accepts no new work";
            return Err(Problem::new(Code::ShuttingDown, detail));
        }
        Ok(())
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
