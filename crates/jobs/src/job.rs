//! What a job is.

use crate::Lease;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use tithe_clock::Timestamp;
use tithe_lightning::PaymentHash;
use tithe_money::{MoneyError, Msats, Sats};
use tithe_pricing::{Quote, Settlement, Usage};
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// Names a job. Whoever knows it may read the job, so it cannot be guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub Uuid);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// The evaluation of a job's request: a flat fee, earned when the evaluation has run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// What the fee was worked out from.
    pub quote: Quote,
    /// The fee.
    pub fee: Sats,
    /// The invoice that asks for it; `None` while it is being made.
    pub invoice: Option<PaymentHash>,
}

/// What the work will cost at most. Frozen when the request is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkTerms {
    /// The quote, with its rates.
    pub quote: Quote,
    /// The quote's maximum, in whole sats.
    pub full_amount: Sats,
    /// What is left for the customer to pay. The rest is reserved of the pool.
    pub amount: Sats,
}

impl WorkTerms {
    /// Terms under which the customer pays everything.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] when the quote cannot be expressed in sats.
    pub fn in_full(quote: Quote) -> Result<Self, MoneyError> {
        let full_amount = quote.full_amount()?;
        Ok(Self { quote, full_amount, amount: full_amount })
    }

    /// The same work, with `reserved` of it paid by the pool.
    ///
    /// # Errors
    /// [`MoneyError::Negative`] when that is more than the work costs.
    pub fn with_reserved(self, reserved: Sats) -> Result<Self, MoneyError> {
        let left = self.full_amount.to_msats().checked_sub(reserved.to_msats())?;
        Ok(Self { amount: left.to_sats_rounding_down(), ..self })
    }

    /// What is reserved of the pool: it pays first.
    #[must_use]
    pub fn reserved(&self) -> Msats {
        self.full_amount.to_msats().saturating_sub(self.amount.to_msats())
    }

    /// Whether nothing is left for the customer to pay.
    #[must_use]
    pub const fn is_free(&self) -> bool {
        self.amount.is_zero()
    }
}

/// Work that was done, and how its price was split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The answer.
    pub text: Arc<str>,
    /// What it used.
    pub usage: Usage,
    /// How what was paid is split.
    pub settlement: Settlement,
}

/// What is owed back to the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Refund {
    /// Nothing.
    #[default]
    NotApplicable,
    /// Booked as owed; not paid out yet.
    Pending {
        /// How much.
        amount: Sats,
    },
}

impl Refund {
    /// The name that the API and the stores use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotApplicable => "not_applicable",
            Self::Pending { .. } => "pending",
        }
    }

    /// How much is owed.
    #[must_use]
    pub const fn amount(self) -> Sats {
        match self {
            Self::NotApplicable => Sats::ZERO,
            Self::Pending { amount } => amount,
        }
    }
}

/// Where a job stands, with what only that state knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// The evaluation fee is asked for (or its invoice is being made).
    AwaitingEvalPayment,
    /// The fee is paid; the request is being evaluated.
    Evaluating,
    /// The request was accepted; the work invoice is being made. Outside it still counts as evaluating.
    Accepted {
        /// What the work will cost.
        work: WorkTerms,
    },
    /// The work is asked to be paid.
    AwaitingWorkPayment {
        /// What the work will cost.
        work: WorkTerms,
        /// The invoice that asks for it.
        invoice: PaymentHash,
    },
    /// The work is paid and runs.
    Executing {
        /// What the work will cost.
        work: WorkTerms,
        /// The invoice that paid it; none when the pool pays it all.
        invoice: Option<PaymentHash>,
    },
    /// The evaluation refused the request.
    Rejected {
        /// Why.
        reason: String,
    },
    /// The work is done.
    Complete {
        /// What it was to cost.
        work: WorkTerms,
        /// The invoice that paid it; none when the pool paid it all.
        invoice: Option<PaymentHash>,
        /// The answer and the bill.
        completion: Completion,
    },
    /// The server could not do it.
    Failed {
        /// Why, in words that may be shown.
        message: String,
        /// What the work was to cost, if it came to that.
        work: Option<WorkTerms>,
        /// The invoice that paid the work, if it came to that.
        invoice: Option<PaymentHash>,
    },
    /// An invoice lapsed unpaid.
    Expired {
        /// What the work was to cost, if it came to that.
        work: Option<WorkTerms>,
        /// The work invoice that lapsed, if it came to that.
        invoice: Option<PaymentHash>,
    },
}

/// A state's name, as the API and the stores say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateName {
    /// The evaluation fee is asked for.
    AwaitingEvalPayment,
    /// The request is being evaluated.
    Evaluating,
    /// The work is asked to be paid.
    AwaitingWorkPayment,
    /// The work runs.
    Executing,
    /// The evaluation refused the request.
    Rejected,
    /// The work is done.
    Complete,
    /// The server could not do it.
    Failed,
    /// An invoice lapsed unpaid.
    Expired,
}

impl StateName {
    /// Every name there is.
    pub const ALL: [Self; 8] = [
        Self::AwaitingEvalPayment,
        Self::Evaluating,
        Self::AwaitingWorkPayment,
        Self::Executing,
        Self::Rejected,
        Self::Complete,
        Self::Failed,
        Self::Expired,
    ];

    /// The name's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingEvalPayment => "awaiting_eval_payment",
            Self::Evaluating => "evaluating",
            Self::AwaitingWorkPayment => "awaiting_work_payment",
            Self::Executing => "executing",
            Self::Rejected => "rejected",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }

    /// The name with that text.
    #[must_use]
    pub fn from_name(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }

    /// Whether a job in this state will never change again, but for money that arrives late and is owed back.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Rejected | Self::Complete | Self::Failed | Self::Expired)
    }
}

impl JobState {
    /// The state's name outside.
    #[must_use]
    pub const fn name(&self) -> StateName {
        match self {
            Self::AwaitingEvalPayment => StateName::AwaitingEvalPayment,
            Self::Evaluating | Self::Accepted { .. } => StateName::Evaluating,
            Self::AwaitingWorkPayment { .. } => StateName::AwaitingWorkPayment,
            Self::Executing { .. } => StateName::Executing,
            Self::Rejected { .. } => StateName::Rejected,
            Self::Complete { .. } => StateName::Complete,
            Self::Failed { .. } => StateName::Failed,
            Self::Expired { .. } => StateName::Expired,
        }
    }

    /// Whether a worker has something to do for it.
    #[must_use]
    pub const fn is_runnable(&self) -> bool {
        matches!(self, Self::Evaluating | Self::Accepted { .. } | Self::Executing { .. })
    }

    /// What the work costs, as soon as that is known.
    #[must_use]
    pub const fn work(&self) -> Option<&WorkTerms> {
        match self {
            Self::Accepted { work }
            | Self::AwaitingWorkPayment { work, .. }
            | Self::Executing { work, .. }
            | Self::Complete { work, .. } => Some(work),
            Self::Failed { work, .. } | Self::Expired { work, .. } => work.as_ref(),
            Self::AwaitingEvalPayment | Self::Evaluating | Self::Rejected { .. } => None,
        }
    }

    /// The work's invoice, as soon as there is one.
    #[must_use]
    pub const fn work_invoice(&self) -> Option<PaymentHash> {
        match self {
            Self::AwaitingWorkPayment { invoice, .. } => Some(*invoice),
            Self::Executing { invoice, .. }
            | Self::Complete { invoice, .. }
            | Self::Failed { invoice, .. }
            | Self::Expired { invoice, .. } => *invoice,
            Self::AwaitingEvalPayment | Self::Evaluating | Self::Accepted { .. } | Self::Rejected { .. } => {
                None
            }
        }
    }
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// What names it.
    pub id: JobId,
    /// What is asked.
    pub request: Arc<str>,
    /// The model that the work runs on.
    pub model: String,
    /// The most output that the customer wants, in tokens.
    pub max_output_tokens: Option<u64>,
    /// Who asks; `None`: anonymous.
    pub identity: Option<NostrPubkey>,
    /// The evaluation and its fee.
    pub evaluation: Evaluation,
    /// Where it stands.
    pub state: JobState,
    /// What is owed back.
    pub refund: Refund,
    /// Who works on it.
    pub lease: Lease,
    /// How many steps it has taken: 0 when new.
    pub revision: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last took a step.
    pub updated_at: Timestamp,
}

/// What a job begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// What names it.
    pub id: JobId,
    /// What is asked.
    pub request: Arc<str>,
    /// The model that the work is to run on.
    pub model: String,
    /// The most output that the customer wants, in tokens.
    pub max_output_tokens: Option<u64>,
    /// Who asks; `None`: anonymous.
    pub identity: Option<NostrPubkey>,
    /// What the evaluation fee was worked out from.
    pub evaluation: Quote,
    /// The evaluation fee.
    pub evaluation_fee: Sats,
    /// Now.
    pub created_at: Timestamp,
}

impl Job {
    /// A new job, whose evaluation invoice is still to be made.
    #[must_use]
    pub fn new(new: NewJob) -> Self {
        Self {
            id: new.id,
            request: new.request,
            model: new.model,
            max_output_tokens: new.max_output_tokens,
            identity: new.identity,
            evaluation: Evaluation { quote: new.evaluation, fee: new.evaluation_fee, invoice: None },
            state: JobState::AwaitingEvalPayment,
            refund: Refund::NotApplicable,
            lease: Lease::default(),
            revision: 0,
            created_at: new.created_at,
            updated_at: new.created_at,
        }
    }
}
