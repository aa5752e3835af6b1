//! Payments that are held: they are noted, and taken or given back as their owner has decided.
//!
//! The decision is committed before the wallet is called, so any server carries it out, again and again, until the wallet's record
//! says that it is done. A response alone is never believed: what is settled is credited, as every payment is.

use super::lookup::Lookup;
use super::owner::PaymentHeld;
use super::payment_hold::PaymentHold;
use super::service::Payments;
use crate::error::EngineError;
use crate::error_chain::chain;
use futures_util::StreamExt;
use std::time::Duration;
use tithe_lightning::{HeldPayment, Invoice, InvoiceId, InvoiceStatus, PaymentHash, WalletError};
use tracing::{debug, error, info, warn};

/// How long a payment is held at most, from when it was seen.
pub(crate) const HOLD_WINDOW: Duration = Duration::from_mins(10);

/// Which invoice of its owner and purpose a hold invoice is, by the id at the wallet.
pub(crate) const HELD_NTH: u32 = 1;

/// How long a payment rests, at least and at most, that the wallet could neither take nor give back, or of which it says nothing.
const REST_MIN: Duration = Duration::from_secs(2);
const REST_MAX: Duration = Duration::from_mins(1);

/// How long the wallet is not asked again about a payment that has waited for so long to be taken or given back: as long again, so that many such
/// payments leave room for others while the wallet is away.
pub(crate) fn hold_rest(waited: Duration) -> Duration {
    waited.clamp(REST_MIN, REST_MAX)
}

/// What has become of a payment that was to be taken, or to be given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HoldOutcome {
    /// It was taken, and is credited.
    Credited,
    /// Nothing is held, and nothing was received.
    Gone,
    /// It is still held, or the wallet does not say.
    Open,
}

/// When a record that shows neither a held payment nor a receipt means that nothing is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GoneIf {
    /// Never: the wallet may be about to take the payment.
    Settled,
    /// Always: the wallet has refused to take it, or was to give it back.
    NotHeld,
    /// When its time is over. Another server may have been about to take it.
    Expired,
}

impl Payments {
    /// Takes note of the payments that the wallet reports as held, until its stream of events ends. Returns at once if the wallet has
    /// no hold invoices.
    pub(crate) async fn listen_held(&self) {
        let wallet = &self.core.ports.wallet;
        if !wallet.capabilities().hold_invoices {
            return;
        }
        let mut payments = match wallet.payments_held().await {
            Ok(stream) => stream,
            Err(failure) => {
                warn!(
                    error = chain(&failure),
                    "the wallet's events of held payments are not available; they are found by polling"
                );
                return;
            }
        };
        while let Some(payment) = payments.next().await {
            let hash = payment.payment_hash;
            match self.held(payment).await {
                Ok(()) => {}
                Err(EngineError::NotFound { .. }) => {
                    debug!(payment_hash = %hash, "payment held for none of our invoices");
                }
                Err(failure) => {
                    warn!(payment_hash = %hash, error = chain(&failure), "held payment not noted yet; polling will find it");
                }
            }
        }
    }

    /// Takes note of a payment that the wallet reports as held, once, whoever else reports it too.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when the payment is for none of our invoices.
    pub async fn held(&self, payment: HeldPayment) -> Result<(), EngineError> {
        let invoice = self.stored(payment.payment_hash).await?;
        self.note_held(&invoice, payment).await.map(drop)
    }

    pub(super) async fn note_held(
        &self,
        invoice: &Invoice,
        payment: HeldPayment,
    ) -> Result<Lookup, EngineError> {
        let (hash, purpose) = (payment.payment_hash, invoice.purpose);
        // Work whose payment could not be taken is not begun. A server that can may do it until the invoice expires; then it is given back.
        if !self.is_hold_invoice(invoice) && self.core.now() < invoice.expires_at {
            error!(
                payment_hash = %hash,
                "wrong claim secret: expected the one that the hold invoice was made with; its payment is not used"
            );
            return Ok(Lookup::Unchanged);
        }
        let owner = self.owner_of(invoice).await?;
        match self.core.committer.commit(PaymentHold { owner, payment }).await? {
            PaymentHeld::Noted => {
                let amount_msats = payment.amount.get();
                info!(payment_hash = %hash, %purpose, amount_msats, "payment held");
                if let Some(lookup) = self.lookup_of(&purpose) {
                    lookup.held(invoice.owner);
                }
                Ok(Lookup::Changed)
            }
            PaymentHeld::Known => Ok(Lookup::Unchanged),
            PaymentHeld::Unwanted => {
                info!(payment_hash = %hash, %purpose, "a held payment that nobody waits for is given back");
                let _tried_again_while_it_is_reported = self.cancel_at_wallet(hash).await;
                Ok(Lookup::Unchanged)
            }
        }
    }

    /// Takes the payment that is held for the hold invoice of this id and hash, and credits it. The intent must be committed.
    ///
    /// # Errors
    /// [`EngineError::NoWallet`] when the wallet's record cannot be read, [`EngineError::Busy`]: ask again.
    pub(crate) async fn settle_held(
        &self,
        id: InvoiceId,
        hash: PaymentHash,
    ) -> Result<HoldOutcome, EngineError> {
        let Some(preimage) = self.hold_keys.preimage(id, hash) else {
            error!(
                payment_hash = %hash,
                "wrong claim secret: expected the one that the hold invoice was made with; its payment goes back"
            );
            return self.outcome(hash, GoneIf::Expired).await;
        };
        let settling = self.core.ports.wallet.hold_invoice_settle(preimage);
        let gone_if = match self.in_time(settling).await {
            Ok(()) => GoneIf::Settled,
            Err(failure) => {
                warn!(payment_hash = %hash, error = chain(&failure), "the held payment was not settled");
                if matches!(failure, WalletError::Refused(_)) { GoneIf::NotHeld } else { GoneIf::Settled }
            }
        };
        self.outcome(hash, gone_if).await
    }

    /// Gives the payment that is held for a hold invoice back. The intent must be committed.
    ///
    /// # Errors
    /// As [`Payments::settle_held`].
    pub(crate) async fn cancel_held(&self, hash: PaymentHash) -> Result<HoldOutcome, EngineError> {
        let gone_if = match self.cancel_at_wallet(hash).await {
            Ok(()) | Err(WalletError::Refused(_)) => GoneIf::NotHeld,
            // A record that does not show a held payment may not be the whole truth yet.
            Err(_) => GoneIf::Expired,
        };
        self.outcome(hash, gone_if).await
    }

    async fn cancel_at_wallet(&self, hash: PaymentHash) -> Result<(), WalletError> {
        let cancelling = self.core.ports.wallet.hold_invoice_cancel(hash);
        self.in_time(cancelling).await.inspect_err(|failure| {
            warn!(payment_hash = %hash, error = chain(failure), "the held payment was not cancelled");
        })
    }

    /// What the wallet's record says of a hold invoice.
    async fn outcome(&self, hash: PaymentHash, gone_if: GoneIf) -> Result<HoldOutcome, EngineError> {
        match self.status_at_wallet(hash).await? {
            Some(InvoiceStatus::Settled(payment)) => {
                self.credit(payment).await?;
                Ok(HoldOutcome::Credited)
            }
            Some(InvoiceStatus::Held(_)) => Ok(HoldOutcome::Open),
            Some(InvoiceStatus::Pending) => {
                Ok(if gone_if == GoneIf::NotHeld { HoldOutcome::Gone } else { HoldOutcome::Open })
            }
            Some(InvoiceStatus::Expired) | None => {
                Ok(if gone_if == GoneIf::Settled { HoldOutcome::Open } else { HoldOutcome::Gone })
            }
        }
    }

    /// Whether an invoice is a hold invoice: its hash says so. What arrives for one is held, and received by nobody.
    pub(crate) fn is_hold_invoice(&self, invoice: &Invoice) -> bool {
        let id = InvoiceId::of(invoice.purpose, invoice.owner, HELD_NTH);
        self.hold_keys.preimage(id, invoice.payment_hash).is_some()
    }

    /// A call to the wallet, which is given up after a while.
    async fn in_time<T>(&self, call: impl Future<Output = Result<T, WalletError>>) -> Result<T, WalletError> {
        let answered = tokio::time::timeout(self.core.settings.wallet_timeout, call).await;
        answered.unwrap_or(Err(WalletError::OutcomeUnknown(None)))
    }
}
