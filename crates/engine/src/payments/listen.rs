//! The wallet's payment events.

use super::service::Payments;
use crate::error::EngineError;
use crate::error_chain::chain;
use futures_util::StreamExt;
use tracing::{debug, warn};

impl Payments {
    /// Credits what the wallet reports, until its stream of events ends.
    pub(crate) async fn listen(&self) {
        let mut payments = match self.core.ports.wallet.payments_received().await {
            Ok(stream) => stream,
            Err(failure) => {
                warn!(
                    error = chain(&failure),
                    "the wallet's payment events are not available; payments are found by polling"
                );
                return;
            }
        };
        while let Some(payment) = payments.next().await {
            let hash = payment.payment_hash;
            match self.credit(payment).await {
                Ok(()) => {}
                // Wallets also report payments that are none of our business.
                Err(EngineError::NotFound { .. }) => {
                    debug!(payment_hash = %hash, "payment for none of our invoices");
                }
                Err(failure) => {
                    warn!(payment_hash = %hash, error = chain(&failure), "payment not credited yet; polling will find it");
                }
            }
        }
    }
}
