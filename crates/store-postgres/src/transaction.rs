//! Named transactions, and their retries.

use crate::failure::Failure;
use std::time::Duration;
use tithe_engine::log::{SlowCall, millis};
use tithe_engine::store::StoreError;
use tithe_store_sql::telemetry;
use tokio::time::Instant;
use tracing::{Instrument, debug, debug_span};

/// How often a transaction is retried after a conflict.
const CONFLICTS_MAX: u32 = 4;

/// The first and the longest pause before an unavailable database is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// A transaction takes a few milliseconds; one that takes this long waits for a lock, for the disk, or for a database that is away.
const SLOW: Duration = Duration::from_secs(1);

/// How transactions are retried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transactions {
    patience: Duration,
}

/// The retries of one transaction.
pub(crate) struct Tries {
    name: &'static str,
    began: Instant,
    _slow: SlowCall,
    /// The beginning of the time that counts against `patience`.
    since: Instant,
    patience: Duration,
    /// Whether the outcome of a commit was unknown.
    in_doubt: bool,
    conflicts: u32,
    pause: Duration,
}

impl Transactions {
    pub(crate) const fn new(patience: Duration) -> Self {
        Self { patience }
    }

    pub(crate) fn begin(self, name: &'static str) -> Tries {
        let (began, patience) = (Instant::now(), self.patience);
        Tries {
            name,
            began,
            _slow: SlowCall::begin("database", name, SLOW),
            since: began,
            patience,
            in_doubt: false,
            conflicts: 0,
            pause: PAUSES.0,
        }
    }

    /// Retries until it succeeds, or a retry is of no use.
    pub(crate) async fn run<T, F>(
        self,
        name: &'static str,
        mut attempt: impl FnMut() -> F + Send,
    ) -> Result<T, StoreError>
    where
        T: Send,
        F: Future<Output = Result<T, Failure>> + Send,
    {
        let mut tries = self.begin(name);
        let trying = async {
            loop {
                match attempt().await {
                    Ok(done) => return Ok(tries.done(done)),
                    Err(failure) => tries.again(failure).await?,
                }
            }
        };
        trying.instrument(debug_span!("transaction", transaction = name)).await
    }
}

impl Tries {
    /// Counts a success.
    pub(crate) fn done<T>(&self, done: T) -> T {
        telemetry::transaction_done(self.name, self.began.elapsed());
        done
    }

    /// Waits until the next try, or returns the error if there is none.
    pub(crate) async fn again(&mut self, failure: Failure) -> Result<(), StoreError> {
        // However long it took to notice the lost commit: its outcome must be looked up.
        if matches!(failure, Failure::Unknown(_)) && !self.in_doubt {
            (self.in_doubt, self.since) = (true, Instant::now());
        }
        let waited = match &failure {
            Failure::Conflict(_)
                if self.conflicts < CONFLICTS_MAX && self.since.elapsed() < self.patience =>
            {
                self.conflicts += 1;
                Some(Duration::ZERO)
            }
            Failure::Unavailable(_) | Failure::Unknown(_)
                if self.since.elapsed() + self.pause < self.patience =>
            {
                let pause = self.pause;
                self.pause = (pause * 2).min(PAUSES.1);
                Some(pause)
            }
            _ => None,
        };
        let outcome = failure.name();
        let Some(pause) = waited else {
            telemetry::transaction_failed(self.name, outcome);
            return Err(failure.into());
        };
        telemetry::transaction_retried(self.name, outcome);
        debug!(transaction = self.name, cause = outcome, wait_ms = millis(pause), "transaction retried");
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
