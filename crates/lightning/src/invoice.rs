//! The invoices that this server has asked to be paid.

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
    /// Every purpose there is.
    pub const ALL: [Self; 2] = [Self::JobEval, Self::JobWork];

    /// The name that the API and the stores use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::JobEval => "job_eval",
            Self::JobWork => "job_work",
        }
    }

    /// The purpose of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }
}

/// Whom an invoice belongs to: the id of the job (later: session, …) that its purpose says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OwnerId(pub Uuid);

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A payment that the wallet has received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Which payment.
    pub payment_hash: PaymentHash,
    /// What arrived; Lightning lets a payer pay more than was asked.
    pub amount: Msats,
    /// The proof, where the wallet tells it.
    pub preimage: Option<Preimage>,
    /// When it arrived, as the wallet says.
    pub settled_at: Timestamp,
}

/// Where an invoice stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvoiceState {
    /// It can be paid.
    Pending,
    /// It was paid, and the payment has been credited.
    Paid {
        /// What arrived.
        received: Msats,
        /// When, as the wallet says.
        paid_at: Timestamp,
        /// The proof, where the wallet tells it.
        preimage: Option<Preimage>,
    },
    /// It lapsed unpaid. A wallet may still report a payment that was under way: then it is paid after all.
    Expired,
}

impl InvoiceState {
    /// The name that the API and the stores use.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Paid { .. } => "paid",
            Self::Expired => "expired",
        }
    }
}

/// Why an invoice did not change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvoiceError {
    /// The payment has been credited before (invariant I3).
    #[error("the payment {0} has been credited already")]
    AlreadyPaid(PaymentHash),
    /// The settlement is of another payment.
    #[error("a settlement of {found} is not for the invoice {wanted}")]
    OtherPayment {
        /// The invoice's hash.
        wanted: PaymentHash,
        /// The settlement's hash.
        found: PaymentHash,
    },
    /// The preimage does not hash to the payment hash: the wallet is lying or broken.
    #[error("the wallet's preimage does not belong to the payment {0}")]
    WrongPreimage(PaymentHash),
    /// It expires later.
    #[error("the invoice {0} has not expired yet")]
    NotExpired(PaymentHash),
}

/// An invoice of this server's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// What names it.
    pub payment_hash: PaymentHash,
    /// What it pays for.
    pub purpose: Purpose,
    /// Whose it is.
    pub owner: OwnerId,
    /// What is shown to who pays it.
    pub payment_request: String,
    /// What it asks for.
    pub amount: Msats,
    /// Where it stands.
    pub state: InvoiceState,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it should no longer be paid.
    pub expires_at: Timestamp,
}

/// An invoice whose state has moved on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvoiceChange {
    /// Paid in time.
    Paid,
    /// Paid after it had been given up: the money is the customer's.
    PaidLate,
}

impl Invoice {
    /// A pending invoice for a payment request that has been checked.
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

    /// The invoice once `settlement` is credited; says whether it still was in time.
    ///
    /// # Errors
    /// [`InvoiceError::AlreadyPaid`] the second time, and when the settlement is not this invoice's.
    pub fn settle(&self, settlement: &Settlement) -> Result<(Self, InvoiceChange), InvoiceError> {
        if settlement.payment_hash != self.payment_hash {
            return Err(InvoiceError::OtherPayment {
                wanted: self.payment_hash,
                found: settlement.payment_hash,
            });
        }
        if settlement.preimage.is_some_and(|preimage| preimage.payment_hash() != self.payment_hash) {
            return Err(InvoiceError::WrongPreimage(self.payment_hash));
        }
        let change = match self.state {
            InvoiceState::Pending => InvoiceChange::Paid,
            InvoiceState::Expired => InvoiceChange::PaidLate,
            InvoiceState::Paid { .. } => return Err(InvoiceError::AlreadyPaid(self.payment_hash)),
        };
        let state = InvoiceState::Paid {
            received: settlement.amount,
            paid_at: settlement.settled_at,
            preimage: settlement.preimage,
        };
        Ok((Self { state, ..self.clone() }, change))
    }

    /// The invoice once it has lapsed unpaid at `now`. Lapsing twice is the same as once.
    ///
    /// # Errors
    /// [`InvoiceError::NotExpired`] before its time, [`InvoiceError::AlreadyPaid`] when it was paid.
    pub fn lapse(&self, now: Timestamp) -> Result<Self, InvoiceError> {
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

/// Reads invoices. They are written with what they pay for, in the engine's batches.
#[async_trait]
pub trait InvoiceRepository: Send + Sync {
    /// What reading can fail with.
    type Error;

    /// The invoice of this hash, or `None`.
    async fn invoice(&self, payment_hash: PaymentHash) -> Result<Option<Invoice>, Self::Error>;

    /// Invoices that are pending: those whose hash comes after `after`, in the order of
    /// their hashes, at most `limit`. An empty answer means that there are no more.
    async fn invoices_pending(
        &self,
        after: Option<PaymentHash>,
        limit: usize,
    ) -> Result<Vec<Invoice>, Self::Error>;

    /// Invoices that expired unpaid at or after `since`, paged as [`InvoiceRepository::invoices_pending`]: a payment
    /// that was under way may still arrive.
    async fn invoices_lapsed(
        &self,
        since: Timestamp,
        after: Option<PaymentHash>,
        limit: usize,
    ) -> Result<Vec<Invoice>, Self::Error>;

    /// How many invoices are pending.
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

    fn settlement() -> Settlement {
        Settlement {
            payment_hash: PREIMAGE.payment_hash(),
            amount: Msats::new(1_000).unwrap(),
            preimage: Some(PREIMAGE),
            settled_at: at(5),
        }
    }

    #[test]
    fn a_payment_is_credited_once() {
        let (paid, change) = invoice().settle(&settlement()).unwrap();
        assert_eq!(change, InvoiceChange::Paid);
        assert_eq!(paid.settle(&settlement()), Err(InvoiceError::AlreadyPaid(paid.payment_hash)));
        assert_eq!(paid.lapse(at(9_000)), Err(InvoiceError::AlreadyPaid(paid.payment_hash)));
    }

    #[test]
    fn a_payment_after_the_invoice_lapsed_is_late_but_not_lost() {
        let lapsed = invoice().lapse(at(600)).unwrap();
        assert_eq!(lapsed.lapse(at(601)).unwrap(), lapsed);
        let (paid, change) = lapsed.settle(&settlement()).unwrap();
        assert_eq!(change, InvoiceChange::PaidLate);
        assert_eq!(paid.settle(&settlement()), Err(InvoiceError::AlreadyPaid(paid.payment_hash)));
    }

    #[test]
    fn an_invoice_does_not_lapse_before_its_time() {
        assert_eq!(invoice().lapse(at(599)), Err(InvoiceError::NotExpired(PREIMAGE.payment_hash())));
    }

    #[test]
    fn a_wallet_that_names_another_payment_or_preimage_is_not_believed() {
        let other = Preimage::from_bytes([8; 32]);
        let wrong = Settlement { payment_hash: other.payment_hash(), ..settlement() };
        assert!(matches!(invoice().settle(&wrong), Err(InvoiceError::OtherPayment { .. })));
        let wrong = Settlement { preimage: Some(other), ..settlement() };
        assert_eq!(invoice().settle(&wrong), Err(InvoiceError::WrongPreimage(PREIMAGE.payment_hash())));
    }

    #[test]
    fn purposes_have_distinct_names() {
        for purpose in Purpose::ALL {
            assert_eq!(Purpose::from_name(purpose.name()), Some(purpose));
        }
        assert_eq!(Purpose::from_name("job"), None);
    }
}
