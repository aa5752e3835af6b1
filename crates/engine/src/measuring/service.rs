//! The readings.

use super::gauges;
use super::ledger_sums::LedgerSums;
use crate::core::Core;
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::telemetry::{self, float, unix_seconds};
use metrics::gauge;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::debug;

/// How long the price may take.
const PRICE_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads what is measured.
pub(crate) struct Measuring {
    core: Arc<Core>,
    ledger: Mutex<LedgerSums>,
}

impl Measuring {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, ledger: Mutex::default() }
    }

    /// Reads the database and the price, and sets the gauges.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer. The gauges then stay as they were, with the time of their reading.
    pub(crate) async fn measure(&self) -> Result<(), EngineError> {
        self.measure_price().await;
        let began = Instant::now();
        let store = &self.core.ports.store;
        let now = self.core.now();
        let found = store.measurements(now).await?;
        gauges::set_in_progress(&found, now);
        gauge!(telemetry::READING_AT).set(unix_seconds(now));
        if let Some(sums) = self.ledger.lock().await.advance(store.as_ref(), found.last_transfer).await? {
            gauges::set_ledger(&sums);
            gauge!(telemetry::LEDGER_READING_AT).set(unix_seconds(now));
        }
        gauge!(telemetry::READING_SECONDS).set(began.elapsed().as_secs_f64());
        Ok(())
    }

    async fn measure_price(&self) {
        let price = self.core.ports.prices.btc_price();
        let known = tokio::time::timeout(PRICE_TIMEOUT, price).await;
        gauge!(telemetry::PRICE_KNOWN).set(if matches!(known, Ok(Ok(_))) { 1.0 } else { 0.0 });
        match known {
            Ok(Ok(quote)) => {
                gauge!(telemetry::PRICE).set(float(quote.price.usd_micros().get().into()) / 1_000_000.0);
                gauge!(telemetry::PRICE_AT).set(unix_seconds(quote.as_of));
            }
            Ok(Err(failure)) => debug!(error = chain(&failure), "there is no price to measure"),
            Err(_elapsed) => debug!("the price took too long to be measured"),
        }
    }
}
