//! The invoices that this server has issued.

use crate::{Bolt11, PaymentHash, Preimage};
use std::fmt;
use std::str::FromStr;
use tithe_clock::{Entropy, Timestamp};
use tithe_label::{InvalidLabel, Label, Vocabulary};
use tithe_money::Msats;
use uuid::Uuid;

/// The vocabulary of purposes. Tithe's own names are reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PurposeNames;

impl Vocabulary for PurposeNames {
    const RESERVED: &'static [&'static str] =
        &["job_eval", "job_work", "session_deposit", "session_top_up", "session_top_up_offer", "bootstrap"];
}

/// The name of a purpose that a service adds, such as `deposit`.
pub type PurposeName = Label<PurposeNames>;

/// What an invoice pays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(into = "String", try_from = "String"))]
pub enum Purpose {
    /// The evaluation of a job's request.
    JobEval,
    /// A job's work.
    JobWork,
    /// The deposit of a session.
    SessionDeposit,
    /// A top-up of a session.
    SessionTopUp,
    /// A top-up of a session that was offered to a request that its balance did not pay for.
    SessionTopUpOffer,
    /// The provisioning of a node.
    Bootstrap,
    /// A purpose of the service's own.
    Custom(PurposeName),
}

impl Purpose {
    /// The purposes that Tithe uses itself.
    pub const BUILT_IN: [Self; 6] = [
        Self::JobEval,
        Self::JobWork,
        Self::SessionDeposit,
        Self::SessionTopUp,
        Self::SessionTopUpOffer,
        Self::Bootstrap,
    ];

    /// The name used by the API and the stores.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::JobEval => "job_eval",
            Self::JobWork => "job_work",
            Self::SessionDeposit => "session_deposit",
            Self::SessionTopUp => "session_top_up",
            Self::SessionTopUpOffer => "session_top_up_offer",
            Self::Bootstrap => "bootstrap",
            Self::Custom(name) => name.as_str(),
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Purpose {
    type Err = InvalidLabel;
    fn from_str(text: &str) -> Result<Self, InvalidLabel> {
        let built_in = Self::BUILT_IN.into_iter().find(|purpose| purpose.as_str() == text);
        built_in.map_or_else(|| text.parse().map(Self::Custom), Ok)
    }
}

impl From<Purpose> for String {
    fn from(purpose: Purpose) -> Self {
        purpose.as_str().to_owned()
    }
}

impl TryFrom<String> for Purpose {
    type Error = InvalidLabel;
    fn try_from(text: String) -> Result<Self, InvalidLabel> {
        text.parse()
    }
}

/// The owner of an invoice: the id of the job (later: session, …) that its purpose refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OwnerId(pub Uuid);

impl OwnerId {
    /// A new id.
    #[must_use]
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(uuid::Builder::from_random_bytes(entropy.bytes()).into_uuid())
    }
}

impl FromStr for OwnerId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A payment that the wallet received.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ReceivedPayment {
    /// The payment hash.
    pub payment_hash: PaymentHash,
    /// The amount that the payer paid, which is credited. Lightning lets a payer pay more than the invoice amount.
    pub amount: Msats,
    /// The part of the amount that the wallet kept for liquidity: the wallet's balance rises by the rest. The operator bears it.
    pub liquidity_fee: Msats,
    /// The preimage, if the wallet reports it.
    pub preimage: Option<Preimage>,
    /// When the payment arrived, as reported by the wallet.
    pub received_at: Timestamp,
}

/// The state of an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
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
    pub const fn as_str(&self) -> &'static str {
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
    /// The payment request has no amount.
    #[error("missing amount: the payment request {0} leaves the amount to the payer")]
    NoAmount(PaymentHash),
    /// The invoice expires later.
    #[error("invoice not expired yet: {0}")]
    NotExpired(PaymentHash),
}

/// An invoice of this server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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

/// How a payment has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvoiceChange {
    /// In time, and at least the amount of the invoice.
    Paid,
    /// In time, but less than the amount of the invoice. No Lightning wallet should accept that. Do not deliver what the
    /// invoice is for; the money belongs to the customer.
    PaidShort,
    /// After the invoice had expired. Do not deliver what the invoice is for; the money belongs to the customer.
    PaidLate,
}

impl Invoice {
    /// Creates a pending invoice for a verified payment request, with the amount that the request asks for.
    ///
    /// The caller has checked the request ([`Bolt11::check`]) and stores the invoice before it is shown to anybody.
    ///
    /// # Errors
    /// [`InvoiceError::NoAmount`] if the payer would choose the amount.
    pub fn issue(request: &Bolt11, purpose: Purpose, owner: OwnerId) -> Result<Self, InvoiceError> {
        Ok(Self {
            payment_hash: request.payment_hash(),
            purpose,
            owner,
            payment_request: request.as_str().to_owned(),
            amount: request.amount().ok_or_else(|| InvoiceError::NoAmount(request.payment_hash()))?,
            state: InvoiceState::Pending,
            created_at: request.created_at(),
            expires_at: request.expires_at(),
        })
    }

    /// What was received for the invoice; `None` while it is not paid.
    #[must_use]
    pub const fn received(&self) -> Option<Msats> {
        match self.state {
            InvoiceState::Paid { received, .. } => Some(received),
            InvoiceState::Pending | InvoiceState::Expired => None,
        }
    }

    /// Credits `payment` to the invoice and reports whether it is in time and enough. Whatever it is, the money has arrived:
    /// the caller stores the invoice together with the transfer that credits the payment, in one transaction.
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
            InvoiceState::Pending if payment.amount < self.amount => InvoiceChange::PaidShort,
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
            liquidity_fee: Msats::ZERO,
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
    fn a_payment_of_too_little_is_credited_but_is_not_paid() {
        let short = ReceivedPayment { amount: Msats::new(999).unwrap(), ..payment() };
        let (paid, change) = invoice().receive(&short).unwrap();
        assert_eq!(change, InvoiceChange::PaidShort);
        assert!(matches!(paid.state, InvoiceState::Paid { received, .. } if received == short.amount));
        let more = ReceivedPayment { amount: Msats::new(1_001).unwrap(), ..payment() };
        assert_eq!(invoice().receive(&more).unwrap().1, InvoiceChange::Paid);
    }

    #[test]
    fn an_invoice_asks_for_what_its_payment_request_says() {
        // BOLT 11's own examples: a coffee for 2500 µBTC, and a donation of any amount.
        let coffee: Bolt11 = crate::bolt11::tests::COFFEE.parse().unwrap();
        let issued = Invoice::issue(&coffee, Purpose::JobWork, OwnerId(Uuid::nil())).unwrap();
        assert_eq!(issued.amount, Msats::new(250_000_000).unwrap());
        let donation: Bolt11 = crate::bolt11::tests::DONATION.parse().unwrap();
        let refused = Invoice::issue(&donation, Purpose::JobWork, OwnerId(Uuid::nil()));
        assert_eq!(refused, Err(InvoiceError::NoAmount(donation.payment_hash())));
    }

    #[test]
    fn purposes_read_back_and_the_built_in_names_are_reserved() {
        for purpose in Purpose::BUILT_IN {
            assert_eq!(purpose.to_string().parse(), Ok(purpose));
            assert!(purpose.as_str().parse::<PurposeName>().is_err());
        }
        assert_eq!("deposit".parse(), Ok(Purpose::Custom(PurposeName::literal("deposit"))));
        assert!("De posit".parse::<Purpose>().is_err());
    }
}
