//! Transactions have names, and are tried again.

use crate::failure::Failure;
use std::time::Duration;
use tithe_engine::store::StoreError;
use tokio::time::Instant;
use tracing::{Instrument, debug, debug_span};

/// How often a transaction is tried that others get in the way of.
const RACES: u32 = 4;

/// The first pause before a database that is away is asked again, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// How transactions are tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transactions {
    patience: Duration,
}

/// How long one transaction goes on trying.
pub(crate) struct Tries {
    name: &'static str,
    began: Instant,
    /// Since when patience is counted.
    since: Instant,
    patience: Duration,
    /// Whether a commit was lost.
    doubted: bool,
    races: u32,
    pause: Duration,
}

impl Transactions {
    pub(crate) const fn new(patience: Duration) -> Self {
        Self { patience }
    }

    pub(crate) fn begin(self, name: &'static str) -> Tries {
        let (began, patience) = (Instant::now(), self.patience);
        Tries { name, began, since: began, patience, doubted: false, races: 0, pause: PAUSES.0 }
    }

    /// Tries until it is done or there is no use in trying.
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
        trying.instrument(debug_span!("transaction", name)).await
    }
}

impl Tries {
    /// Counts a success.
    pub(crate) fn done<T>(&self, done: T) -> T {
        metrics::counter!("tithe_store_transactions_total", "transaction" => self.name, "outcome" => "done")
            .increment(1);
        metrics::histogram!("tithe_store_transaction_seconds", "transaction" => self.name)
            .record(self.began.elapsed().as_secs_f64());
        done
    }

    /// Waits until it is time to try again, or says that it is not.
    pub(crate) async fn again(&mut self, failure: Failure) -> Result<(), StoreError> {
        // However long it took to notice that a commit was lost: there is time to look up what became of it.
        if matches!(failure, Failure::Unknown(_)) && !self.doubted {
            (self.doubted, self.since) = (true, Instant::now());
        }
        let waited = match &failure {
            Failure::Raced(_) if self.races < RACES && self.since.elapsed() < self.patience => {
                self.races += 1;
                Some(Duration::ZERO)
            }
            Failure::Away(_) | Failure::Unknown(_) if self.since.elapsed() + self.pause < self.patience => {
                let pause = self.pause;
                self.pause = (pause * 2).min(PAUSES.1);
                Some(pause)
            }
            _ => None,
        };
        let outcome = failure.name();
        let Some(pause) = waited else {
            metrics::counter!("tithe_store_transactions_total", "transaction" => self.name, "outcome" => outcome)
                .increment(1);
            return Err(failure.into());
        };
        metrics::counter!("tithe_store_retries_total", "transaction" => self.name, "cause" => outcome)
            .increment(1);
        debug!(transaction = self.name, ?failure, ?pause, "trying again");
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
