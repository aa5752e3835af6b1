//! What is measured of every wallet, and which of its calls leave a line.

use crate::log::SlowCall;
use crate::telemetry;
use async_trait::async_trait;
use metrics::{counter, histogram};
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_lightning::{
    Bolt11, HeldPayments, InvoiceRequest, InvoiceStatus, Network, Payment, PaymentHash, PaymentId,
    PaymentOrder, Preimage, ReceivedPayments, Wallet, WalletCapabilities, WalletError, WalletPayment,
};
use tithe_money::Msats;
use tokio::time::Instant;
use tracing::{Instrument, debug_span};

/// Readers wait 1 s for the wallet and callers give it 8 s: what takes longer than this is felt.
const WALLET: Duration = Duration::from_secs(2);

/// A payment tries routes until one works, and the whole list of payments may be long.
const WALLET_PAYMENT: Duration = Duration::from_secs(15);

/// A wallet whose calls are measured: how they end, and how long they take. A call that is dropped, because the server does not wait
/// any longer, is measured as abandoned. A slow one leaves a line.
pub(crate) struct WatchedWallet(Arc<dyn Wallet>);

impl WatchedWallet {
    pub(crate) fn new(wallet: Arc<dyn Wallet>) -> Self {
        Self(wallet)
    }
}

/// A call that has not ended.
struct Call {
    operation: &'static str,
    began: Instant,
    outcome: &'static str,
}

impl Drop for Call {
    fn drop(&mut self) {
        let Self { operation, began, outcome } = *self;
        counter!(telemetry::WALLET_CALLS, "operation" => operation, "outcome" => outcome).increment(1);
        histogram!(telemetry::WALLET_CALL_SECONDS, "operation" => operation).record(began.elapsed());
    }
}

/// Measures a call.
async fn measured<T>(
    operation: &'static str,
    limit: Duration,
    call: impl Future<Output = Result<T, WalletError>> + Send,
) -> Result<T, WalletError> {
    let _slow = SlowCall::begin("wallet", operation, limit);
    let mut measured = Call { operation, began: Instant::now(), outcome: "abandoned" };
    let answered = call.instrument(debug_span!("wallet", call = operation)).await;
    measured.outcome = match &answered {
        Ok(_) => "done",
        Err(WalletError::Unavailable(_)) => "unavailable",
        Err(WalletError::Refused(_)) => "refused",
        Err(WalletError::Nonsense(_)) => "nonsense",
        // Of a kind that is not known, nothing is known.
        Err(_) => "unknown",
    };
    answered
}

#[async_trait]
impl Wallet for WatchedWallet {
    fn network(&self) -> Network {
        self.0.network()
    }

    fn capabilities(&self) -> WalletCapabilities {
        self.0.capabilities()
    }

    async fn invoice_create(&self, request: &InvoiceRequest) -> Result<Bolt11, WalletError> {
        measured("invoice_create", WALLET, self.0.invoice_create(request)).await
    }

    async fn invoice_status(&self, payment_hash: PaymentHash) -> Result<Option<InvoiceStatus>, WalletError> {
        measured("invoice_status", WALLET, self.0.invoice_status(payment_hash)).await
    }

    async fn payments_received(&self) -> Result<ReceivedPayments, WalletError> {
        measured("payments_received", WALLET_PAYMENT, self.0.payments_received()).await
    }

    async fn payment_send(&self, order: &PaymentOrder) -> Result<Payment, WalletError> {
        measured("payment_send", WALLET_PAYMENT, self.0.payment_send(order)).await
    }

    async fn payment_status(
        &self,
        id: PaymentId,
        payment_hash: PaymentHash,
    ) -> Result<Option<Payment>, WalletError> {
        measured("payment_status", WALLET, self.0.payment_status(id, payment_hash)).await
    }

    async fn balance(&self) -> Result<Msats, WalletError> {
        measured("balance", WALLET, self.0.balance()).await
    }

    async fn payments_settled(&self, since: Timestamp) -> Result<Vec<WalletPayment>, WalletError> {
        measured("payments_settled", WALLET_PAYMENT, self.0.payments_settled(since)).await
    }

    async fn hold_invoice_create(
        &self,
        request: &InvoiceRequest,
        payment_hash: PaymentHash,
    ) -> Result<Bolt11, WalletError> {
        measured("hold_invoice_create", WALLET, self.0.hold_invoice_create(request, payment_hash)).await
    }

    async fn hold_invoice_settle(&self, preimage: Preimage) -> Result<(), WalletError> {
        measured("hold_invoice_settle", WALLET, self.0.hold_invoice_settle(preimage)).await
    }

    async fn hold_invoice_cancel(&self, payment_hash: PaymentHash) -> Result<(), WalletError> {
        measured("hold_invoice_cancel", WALLET, self.0.hold_invoice_cancel(payment_hash)).await
    }

    async fn payments_held(&self) -> Result<HeldPayments, WalletError> {
        measured("payments_held", WALLET_PAYMENT, self.0.payments_held()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
    use std::collections::BTreeMap;

    /// How often each outcome was counted.
    fn counted(snapshots: &Snapshotter) -> BTreeMap<String, u64> {
        let found = snapshots.snapshot().into_vec().into_iter();
        let counters = found.filter_map(|(key, _, _, value)| match value {
            DebugValue::Counter(count) => Some((key.key().clone(), count)),
            _ => None,
        });
        let outcome = |key: metrics::Key| {
            let outcome = key.labels().find(|label| label.key() == "outcome");
            outcome.unwrap().value().to_owned()
        };
        counters.map(|(key, count)| (outcome(key), count)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_counted_however_it_ends() {
        let recorder = DebuggingRecorder::new();
        let snapshots = recorder.snapshotter();
        let _recording = metrics::set_default_local_recorder(&recorder);
        measured("balance", WALLET, async { Ok(()) }).await.unwrap();
        let failures = [
            WalletError::Unavailable(None),
            WalletError::Refused("no".to_owned()),
            WalletError::OutcomeUnknown(None),
            WalletError::Nonsense("?".to_owned()),
        ];
        for failure in failures {
            assert!(measured::<()>("balance", WALLET, async { Err(failure) }).await.is_err());
        }
        let stuck = measured::<()>("balance", WALLET, std::future::pending());
        assert!(tokio::time::timeout(Duration::from_secs(1), stuck).await.is_err());
        let expected = ["abandoned", "done", "nonsense", "refused", "unavailable", "unknown"];
        assert_eq!(counted(&snapshots), expected.map(|outcome| (outcome.to_owned(), 1)).into());
    }
}
