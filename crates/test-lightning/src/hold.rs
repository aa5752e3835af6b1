//! Hold invoices of a node.

use std::time::Duration;

use tithe_lightning::{Bolt11, PaymentHash, Preimage};
use tithe_money::Msats;
use tokio::time::timeout;

use crate::patience::TIME_LIMIT;
use crate::{Hold, HoldError, HoldState, InvoiceDescription, LightningError, LightningNode};

/// The blocks that the last hop leaves when the caller does not say.
const FINAL_DELTA: u16 = 80;

impl LightningNode {
    /// Creates an invoice for a hash of the caller's. Its payment is held until it is settled or cancelled, or until LDK gives it
    /// back, which is 39 blocks before its expiry. `final_delta` is how many blocks after its arrival that is at least.
    pub fn create_hold_invoice(
        &self,
        amount: Option<Msats>,
        description: impl Into<InvoiceDescription>,
        expiry: Duration,
        hash: PaymentHash,
        final_delta: Option<u16>,
    ) -> Result<Bolt11, LightningError> {
        if self.incoming(hash).is_some() {
            return Err(LightningError::Options("an invoice has this payment hash"));
        }
        let hash = (hash, final_delta.unwrap_or(FINAL_DELTA));
        let (text, invoice) = self.issue(amount, description.into(), expiry, Some(hash))?;
        let hold = Hold { state: HoldState::Open, claim_deadline: None };
        self.register(&invoice, text, None, Some(hold))
    }

    /// Waits until the payment of a hold invoice has arrived.
    pub async fn arrived(&self, hash: PaymentHash) -> Result<(), LightningError> {
        let arrived = self.0.book.wait(|book| {
            let hold = book.incoming(hash)?.hold?;
            (hold.state != HoldState::Open).then_some(())
        });
        let arrived = timeout(TIME_LIMIT, arrived).await;
        arrived.ok().flatten().ok_or(LightningError::TimedOut("the payment has arrived"))
    }

    /// Takes the payment that is held for this preimage's invoice, and waits until the node has it.
    ///
    /// # Errors
    /// [`HoldError::NotHeld`], also if it was taken before.
    pub async fn settle_hold(&self, preimage: Preimage) -> Result<(), HoldError> {
        let hash = preimage.payment_hash();
        self.0.book.hold_settle(preimage)?;
        self.0.claim(&preimage);
        let end = self.0.book.wait(|book| {
            let payment = book.incoming(hash)?;
            match payment.hold.map(|hold| hold.state) {
                _ if payment.received.is_some() => Some(Ok(())),
                Some(HoldState::Settling) => None,
                _ => Some(Err(HoldError::NotHeld)),
            }
        });
        timeout(TIME_LIMIT, end).await.ok().flatten().unwrap_or(Err(HoldError::Undecided))
    }

    /// Gives the payment that is held for an invoice back.
    ///
    /// # Errors
    /// [`HoldError::NotHeld`], also if it was given back before.
    pub fn cancel_hold(&self, hash: PaymentHash) -> Result<(), HoldError> {
        self.0.book.hold_cancel(hash)?;
        self.0.reject(hash);
        Ok(())
    }
}
