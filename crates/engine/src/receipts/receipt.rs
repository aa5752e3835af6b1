//! What a receipt says.

use super::charges::ChargeAmounts;
use std::sync::Arc;
use tithe_clock::Timestamp;
use tithe_free_tier::RequestHash;
use tithe_lightning::PaymentHash;
use tithe_money::{BtcPrice, MoneyError, Msats, Sats, UsdMicros};
use tithe_pricing::Usage;
use uuid::Uuid;

/// The kind of work that was charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkKind {
    /// A job.
    Job,
    /// A request of a prepaid session.
    SessionRequest,
    /// A request that was paid for by itself.
    PaidRequest,
    /// A request that an install's plan includes, or that the pool pays for.
    Ask,
}

impl WorkKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Job, Self::SessionRequest, Self::PaidRequest, Self::Ask];

    /// The name, as used by the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::SessionRequest => "session_request",
            Self::PaidRequest => "paid_request",
            Self::Ask => "ask",
        }
    }
}

/// How work ended that was charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptOutcome {
    /// The work is done.
    Complete,
    /// The evaluation rejected the request, and only the evaluation was charged.
    Rejected,
    /// The work could not be done. What was charged is its evaluation.
    Failed,
    /// The work was not paid for in time. What was charged is its evaluation.
    Expired,
}

impl ReceiptOutcome {
    /// All outcomes.
    pub const ALL: [Self; 4] = [Self::Complete, Self::Rejected, Self::Failed, Self::Expired];

    /// The name, as used by the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }
}

/// What a charge was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The evaluation of a job's request.
    Evaluation,
    /// The work; of a request its evaluation, too.
    Work,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 2] = [Self::Evaluation, Self::Work];

    /// The name, as used by the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Evaluation => "evaluation",
            Self::Work => "work",
        }
    }
}

/// One charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChargedPart {
    /// What it was for.
    pub part: Part,
    /// The amounts.
    pub amounts: ChargeAmounts,
    /// The BTC price at which it was quoted; `None` if it is not known any more.
    pub btc_price: Option<BtcPrice>,
    /// When it was charged.
    pub at: Timestamp,
}

impl ChargedPart {
    /// What the customer was charged, in dollars at the price of the quote, rounded up.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`].
    pub fn charged_usd(&self) -> Result<Option<UsdMicros>, MoneyError> {
        self.btc_price.map(|price| price.value_rounding_up(self.amounts.charged)).transpose()
    }
}

/// The payments that were made for one piece of work, and for nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptPayment {
    /// The hashes of the payments, in the order in which they were asked for.
    pub payment_hashes: Vec<PaymentHash>,
    /// What was paid.
    pub paid: Msats,
    /// What of it is refunded.
    pub refunded: Sats,
}

/// What a piece of work was charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The id of the work.
    pub id: Uuid,
    /// The kind of work.
    pub kind: WorkKind,
    /// How it ended.
    pub outcome: ReceiptOutcome,
    /// The model that did it; `None` if it is not known any more.
    pub model: Option<String>,
    /// The name of the backend that did it, if the operator has named several.
    pub backend: Option<Arc<str>>,
    /// The SHA-256 of the request: of its body as it was sent to the AI API, otherwise of its text in UTF-8. `None` if it is not known any
    /// more.
    pub request_hash: Option<RequestHash>,
    /// What the work has used, and whether that was counted here because the backend did not say it. `None` if it is not known.
    pub usage: Option<(Usage, bool)>,
    /// What was charged.
    pub charges: Vec<ChargedPart>,
    /// What was paid for this work alone; `None` if it was charged to a balance, or if its customer paid nothing.
    pub payment: Option<ReceiptPayment>,
    /// When it was charged last.
    pub at: Timestamp,
}

impl Receipt {
    /// The amounts of all charges.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`].
    pub fn amounts(&self) -> Result<ChargeAmounts, MoneyError> {
        self.charges.iter().try_fold(ChargeAmounts::default(), |sum, charge| sum.plus(&charge.amounts))
    }

    /// What the customer was charged, in dollars at the prices of the quotes, each rounded up; `None` if a price is not known.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`].
    pub fn charged_usd(&self) -> Result<Option<UsdMicros>, MoneyError> {
        let mut sum = UsdMicros::ZERO;
        for charge in &self.charges {
            let Some(usd) = charge.charged_usd()? else { return Ok(None) };
            sum = sum.checked_add(usd)?;
        }
        Ok(Some(sum))
    }
}
