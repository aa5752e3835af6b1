//! What a case needs: the wallet, and somebody who pays.

use async_trait::async_trait;
use std::sync::Arc;
use tithe_clock::Timestamp;
use tithe_lightning::{Bolt11, PaymentHash, Preimage, Wallet};
use tithe_money::Msats;

/// What the payer knows about a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayerSees {
    /// It is in flight.
    Waiting,
    /// It succeeded, and this is the proof.
    Paid(Preimage),
    /// It failed, and nothing was paid.
    Returned,
}

/// A wallet with hold invoices, and a payer.
#[async_trait]
pub trait HoldBench: Send + Sync {
    /// The wallet.
    fn wallet(&self) -> Arc<dyn Wallet>;

    /// Another server's connection to the same wallet.
    fn other_server(&self) -> Arc<dyn Wallet>;

    /// The time by the wallet's clock.
    fn now(&self) -> Timestamp;

    /// Begins to pay. The outcome is not waited for.
    async fn pay(&self, invoice: &Bolt11);

    /// What the payer knows about the payment of an invoice that was paid by [`HoldBench::pay`].
    async fn payer_sees(&self, invoice: &Bolt11) -> PayerSees;

    /// What the payer has; `None` if the payer's money is not counted.
    fn payer_balance(&self) -> Option<Msats>;

    /// Lets the time pass until a payment that is held goes back by itself.
    async fn let_time_run_out(&self, payment_hash: PaymentHash);
}
