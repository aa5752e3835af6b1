//! The invoices that this server has issued.

use crate::{Bolt11, PaymentHash, Preimage};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;
use tithe_clock::Timestamp;
use tithe_money::Msats;
use uuid::Uuid;

/// What an invoice pays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The evaluation of a job's request.
    JobEval,
    /// A job's work.
    JobWork,
}

impl Purpose {
    /// All purposes.
    pub const ALL: [Self; 2] = [Self::JobEval, Self::JobWork];

    /// The name used by the API and the stores.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::JobEval => "job_eval",
            Self::JobWork => "job_work",
        }
    }

    /// Parses a purpose name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }
}

/// The owner of an invoice: the id of the job (later: session, …) that its purpose refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OwnerId(pub Uuid);

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A payment that the wallet received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedPayment {
    /// The payment hash.
    pub payment_hash: PaymentHash,
    /// The amount received. Lightning lets a payer pay more than the invoice amount.
    pub amount: Msats,
    /// The preimage, if the wallet reports it.
    pub preimage: Option<Preimage>,
    /// When the payment arrived, as reported by the wallet.
    pub received_at: Timestamp,
}

/// The state of an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvoiceState {
    /// The invoice can be paid.
    Pending,
    /// The invoice was paid and the payment is credited.
    Paid {
        /// The amount received.
        received: Msats,
        /// When the payment arrived, as reported by the wallet.
        paid_at: Timestamp,
        /// The preimage, if the wallet reports it.
        preimage: Option<Preimage>,
    },
    /// The invoice expired unpaid. The wallet may still report a payment that was in flight; the invoice then becomes
    /// paid.
    Expired,
}

impl InvoiceState {
    /// The name used by the API and the stores.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Paid { .. } => "paid",
            Self::Expired => "expired",
        }
    }
}

/// The reason why an invoice could not change state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvoiceError {
    /// The payment is already credited (invariant I3).
    #[error("payment already credited: {0}")]
    AlreadyPaid(PaymentHash),
    /// The received payment has a different payment hash.
    #[error("wrong payment: expected payment hash {wanted}, got {found}")]
    OtherPayment {
        /// The invoice's hash.
        wanted: PaymentHash,
        /// The payment's hash.
        found: PaymentHash,
    },
    /// The preimage does not hash to the payment hash: the wallet is dishonest or broken.
    #[error("wrong preimage: the wallet's preimage does not hash to {0}")]
    WrongPreimage(PaymentHash),
    /// The invoice expires later.
    #[error("invoice not expired yet: {0}")]
    NotExpired(PaymentHash),
}

/// An invoice of this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// The payment hash, which identifies the invoice.
    pub payment_hash: PaymentHash,
    /// What the invoice pays for.
    pub purpose: Purpose,
    /// The id of the invoice's owner.
    pub owner: OwnerId,
    /// The BOLT11 payment request, as shown to the payer.
    pub payment_request: String,
    /// The amount due.
    pub amount: Msats,
    /// The invoice's state.
    pub state: InvoiceState,
    /// When the invoice was created.
    pub created_at: Timestamp,
    /// When the invoice expires.
    pub expires_at: Timestamp,
}

/// An invoice that was paid, in time or late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvoiceChange {
    /// The payment arrived before the invoice expired.
    Paid,
    /// The payment arrived after the invoice had expired. The money belongs to the customer.
    PaidLate,
}

impl Invoice {
    /// Creates a pending invoice for a verified payment request.
    #[must_use]
    pub fn issue(request: &Bolt11, purpose: Purpose, owner: OwnerId, amount: Msats) -> Self {
        Self {
            payment_hash: request.payment_hash(),
            purpose,
            owner,
            payment_request: request.as_str().to_owned(),
            amount,
            state: InvoiceState::Pending,
            created_at: request.created_at(),
            expires_at: request.expires_at(),
        }
    }

    /// Credits `settlement` to the invoice and reports whether the payment was in time.
    ///
    /// # Errors
    /// [`InvoiceError::AlreadyPaid`] if a payment is already credited; other variants if the payment does not match the
    /// invoice.
    pub fn receive(&self, payment: &ReceivedPayment) -> Result<(Self, InvoiceChange), InvoiceError> {
        if payment.payment_hash != self.payment_hash {
            return Err(InvoiceError::OtherPayment {
                wanted: self.payment_hash,
                found: payment.payment_hash,
            });
        }
        if payment.preimage.is_some_and(|preimage| preimage.payment_hash() != self.payment_hash) {
            return Err(InvoiceError::WrongPreimage(self.payment_hash));
        }
        let change = match self.state {
            InvoiceState::Pending => InvoiceChange::Paid,
            InvoiceState::Expired => InvoiceChange::PaidLate,
            InvoiceState::Paid { .. } => return Err(InvoiceError::AlreadyPaid(self.payment_hash)),
        };
        let state = InvoiceState::Paid {
            received: payment.amount,
            paid_at: payment.received_at,
            preimage: payment.preimage,
        };
        Ok((Self { state, ..self.clone() }, change))
    }

    /// Returns the invoice expired at `now`. Expiring an expired invoice changes nothing.
    ///
    /// # Errors
    /// [`InvoiceError::NotExpired`] before the expiry time, [`InvoiceError::AlreadyPaid`] if the invoice was paid.
    pub fn expire(&self, now: Timestamp) -> Result<Self, InvoiceError> {
        match self.state {
            InvoiceState::Paid { .. } => Err(InvoiceError::AlreadyPaid(self.payment_hash)),
            InvoiceState::Pending if now < self.expires_at => {
                Err(InvoiceError::NotExpired(self.payment_hash))
            }
            InvoiceState::Pending | InvoiceState::Expired => {
                Ok(Self { state: InvoiceState::Expired, ..self.clone() })
            }
        }
    }
}

/// Reads invoices. They are written by the engine's batches, together with what they pay for.
#[async_trait]
pub trait InvoiceRepository: Send + Sync {
    /// The error of a failed read.
    type Error;

    /// The invoice with this payment hash, or `None`.
    async fn invoice(&self, payment_hash: PaymentHash) -> Result<Option<Invoice>, Self::Error>;

    /// Pending invoices whose hash comes after `after`, ordered by hash, at most `limit`. An empty list means that
    /// there are no more.
    async fn invoices_pending(
        &self,
        after: Option<PaymentHash>,
        limit: usize,
    ) -> Result<Vec<Invoice>, Self::Error>;

    /// Invoices that expired unpaid at or after `since`, paged like [`InvoiceRepository::invoices_pending`]: a payment
    /// that was in flight may still arrive.
    async fn invoices_expired(
        &self,
        since: Timestamp,
        after: Option<PaymentHash>,
        limit: usize,
    ) -> Result<Vec<Invoice>, Self::Error>;

    /// The number of pending invoices.
    async fn invoices_pending_count(&self) -> Result<u64, Self::Error>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const PREIMAGE: Preimage = Preimage::from_bytes([7; 32]);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn invoice() -> Invoice {
        Invoice {
            payment_hash: PREIMAGE.payment_hash(),
            purpose: Purpose::JobEval,
            owner: OwnerId(Uuid::nil()),
            payment_request: "lnbcrt1".to_owned(),
            amount: Msats::new(1_000).unwrap(),
            state: InvoiceState::Pending,
            created_at: at(0),
            expires_at: at(600),
        }
    }

    fn payment() -> ReceivedPayment {
        ReceivedPayment {
            payment_hash: PREIMAGE.payment_hash(),
            amount: Msats::new(1_000).unwrap(),
            preimage: Some(PREIMAGE),
            received_at: at(5),
        }
    }

    #[test]
    fn a_payment_is_credited_once() {
        let (paid, change) = invoice().receive(&payment()).unwrap();
        assert_eq!(change, InvoiceChange::Paid);
        assert_eq!(paid.receive(&payment()), Err(InvoiceError::AlreadyPaid(paid.payment_hash)));
        assert_eq!(paid.expire(at(9_000)), Err(InvoiceError::AlreadyPaid(paid.payment_hash)));
    }

    #[test]
    fn a_payment_after_the_invoice_lapsed_is_late_but_not_lost() {
        let lapsed = invoice().expire(at(600)).unwrap();
        assert_eq!(lapsed.expire(at(601)).unwrap(), lapsed);
        let (paid, change) = lapsed.receive(&payment()).unwrap();
        assert_eq!(change, InvoiceChange::PaidLate);
        assert_eq!(paid.receive(&payment()), Err(InvoiceError::AlreadyPaid(paid.payment_hash)));
    }

    #[test]
    fn an_invoice_does_not_lapse_before_its_time() {
        assert_eq!(invoice().expire(at(599)), Err(InvoiceError::NotExpired(PREIMAGE.payment_hash())));
    }

    #[test]
    fn a_wallet_that_names_another_payment_or_preimage_is_not_believed() {
        let other = Preimage::from_bytes([8; 32]);
        let wrong = ReceivedPayment { payment_hash: other.payment_hash(), ..payment() };
        assert!(matches!(invoice().receive(&wrong), Err(InvoiceError::OtherPayment { .. })));
        let wrong = ReceivedPayment { preimage: Some(other), ..payment() };
        assert_eq!(invoice().receive(&wrong), Err(InvoiceError::WrongPreimage(PREIMAGE.payment_hash())));
    }

    #[test]
    fn purposes_have_distinct_names() {
        for purpose in Purpose::ALL {
            assert_eq!(Purpose::from_name(purpose.name()), Some(purpose));
        }
        assert_eq!(Purpose::from_name("job"), None);
    }
}
