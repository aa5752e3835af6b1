//! Paying test invoices from a real wallet.

use crate::{
    Bolt11, InvoiceId, InvoiceRequest, Payment, PaymentId, PaymentOrder, Preimage, TestPayer,
    TestPaymentError, Wallet, WalletError,
};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{Clock, Entropy};
use tithe_money::{Msats, Sats};
use uuid::Uuid;

/// What the routing fee of a test payment may be: a part of the amount, and at least so much.
const FEE_PARTS: u64 = 20;
const FEE_MIN_MSATS: u64 = 20_000;

/// How long an invoice for tests can be paid.
const INVOICE_EXPIRY: Duration = Duration::from_hours(1);

/// Pays test invoices from a second wallet, on a network of play money.
pub struct WalletPayer {
    wallet: Arc<dyn Wallet>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl WalletPayer {
    /// A payer that pays from `wallet`.
    #[must_use]
    pub fn new(wallet: Arc<dyn Wallet>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { wallet, clock, entropy }
    }

    fn id(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.entropy.bytes()).into_uuid()
    }
}

#[async_trait]
impl TestPayer for WalletPayer {
    async fn pay(&self, invoice: &Bolt11) -> Result<Preimage, TestPaymentError> {
        let hash = invoice.payment_hash();
        let id = PaymentId(self.id());
        if let Some(Payment::Succeeded { .. } | Payment::InFlight) =
            self.wallet.payment_status(id, hash).await?
        {
            return Err(TestPaymentError::AlreadyPaid(hash));
        }
        if invoice.expires_at() <= self.clock.now() {
            return Err(TestPaymentError::Expired(hash));
        }
        let amount = invoice.amount().unwrap_or(Msats::ZERO).get();
        let fee = (amount / FEE_PARTS).max(FEE_MIN_MSATS);
        let max_fee = Msats::new(fee).unwrap_or(Msats::ZERO);
        let order = PaymentOrder { id, request: invoice.clone(), amount: None, max_fee };
        match self.wallet.payment_send(&order).await? {
            Payment::Succeeded { preimage, .. } => Ok(preimage),
            Payment::InFlight => Err(WalletError::OutcomeUnknown(None).into()),
            Payment::Failed { reason } => Err(WalletError::Refused(reason).into()),
        }
    }

    async fn invoice(&self, amount: Sats) -> Result<Bolt11, TestPaymentError> {
        let request = InvoiceRequest {
            id: InvoiceId(self.id()),
            amount,
            description: "an invoice for tests".to_owned(),
            expiry: INVOICE_EXPIRY,
        };
        Ok(self.wallet.invoice_create(&request).await?)
    }
}
