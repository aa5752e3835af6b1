//! The data of a job.

use crate::{HeldAnswer, Lease, WorkPayment};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use tithe_clock::{Entropy, Timestamp};
use tithe_lightning::PaymentHash;
use tithe_money::{MoneyError, Msats, Sats};
use tithe_pricing::{CostSplit, FinishReason, Priced, Quote};
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// The id of a job. It is unguessable, because anyone who knows it may read the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct JobId(pub Uuid);

impl JobId {
    /// A new id.
    #[must_use]
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(uuid::Builder::from_random_bytes(entropy.bytes()).into_uuid())
    }
}

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

/// The evaluation of a job's request: a flat fee that is charged once the evaluation has run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Evaluation<Q: Priced = Quote> {
    /// The quote that the fee was derived from.
    pub quote: Q,
    /// The fee.
    pub fee: Sats,
    /// The payment hash of the fee's invoice; `None` until the invoice exists.
    pub invoice: Option<PaymentHash>,
}

/// The most the work can cost. Frozen when the request is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct WorkTerms<Q: Priced = Quote> {
    /// The quote, with its rates.
    pub quote: Q,
    /// The quote's maximum price, in whole sats.
    pub full_amount: Sats,
    /// The part that the customer pays. The rest is reserved from the pool.
    pub amount: Sats,
}

impl<Q: Priced> WorkTerms<Q> {
    /// Terms under which the customer pays everything.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] when the quote cannot be expressed in sats.
    pub fn in_full(quote: Q) -> Result<Self, MoneyError> {
        let full_amount = quote.full_amount()?;
        Ok(Self { quote, full_amount, amount: full_amount })
    }

    /// The same terms with `reserved` paid by the pool.
    ///
    /// # Errors
    /// [`MoneyError::Negative`] when `reserved` exceeds the price of the work.
    pub fn with_reserved(self, reserved: Sats) -> Result<Self, MoneyError> {
        let left = self.full_amount.to_msats().checked_sub(reserved.to_msats())?;
        Ok(Self { amount: left.to_sats_rounding_down(), ..self })
    }

    /// The amount reserved from the pool. It is used before the customer's payment.
    #[must_use]
    pub fn reserved(&self) -> Msats {
        self.full_amount.to_msats().saturating_sub(self.amount.to_msats())
    }

    /// Returns true if the pool covers the whole price.
    #[must_use]
    pub const fn is_free(&self) -> bool {
        self.amount.is_zero()
    }
}

/// The result of completed work and how its price was split.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(bound(
        serialize = "Q: serde::Serialize, Q::Usage: serde::Serialize",
        deserialize = "Q: serde::de::DeserializeOwned, Q::Usage: serde::de::DeserializeOwned"
    ))
)]
pub struct Completion<Q: Priced = Quote> {
    /// The model's output.
    pub text: Arc<str>,
    /// What the work used: tokens, seconds, ….
    pub usage: Q::Usage,
    /// Whether the usage was counted here, because the backend reported none.
    pub estimated: bool,
    /// Why the output ended.
    pub finish: FinishReason,
    /// How the payment is split into charge, refund and rounding.
    pub settlement: CostSplit,
}

impl<Q: Priced> Completion<Q> {
    /// The completed work, with its price split.
    #[must_use]
    pub fn of(answer: HeldAnswer<Q>, settlement: CostSplit) -> Self {
        let HeldAnswer { text, usage, estimated, finish, price: _ } = answer;
        Self { text, usage, estimated, finish, settlement }
    }
}

/// The refund owed to the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Refund {
    /// No refund is owed.
    #[default]
    NotApplicable,
    /// A refund is booked and not paid out yet.
    Pending {
        /// The amount owed.
        amount: Sats,
    },
}

impl Refund {
    /// The name used by the API and the stores.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotApplicable => "not_applicable",
            Self::Pending { .. } => "pending",
        }
    }

    /// The amount owed.
    #[must_use]
    pub const fn amount(self) -> Sats {
        match self {
            Self::NotApplicable => Sats::ZERO,
            Self::Pending { amount } => amount,
        }
    }
}

/// The state of a job, with the data that only that state has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(bound(
        serialize = "Q: serde::Serialize, Q::Usage: serde::Serialize",
        deserialize = "Q: serde::de::DeserializeOwned, Q::Usage: serde::de::DeserializeOwned"
    ))
)]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum JobState<Q: Priced = Quote> {
    /// Waiting for the evaluation fee (or for its invoice to be created).
    AwaitingEvalPayment,
    /// The fee is paid; the request is being evaluated.
    Evaluating,
    /// The request was accepted and the work invoice is being created. The API still reports `evaluating`.
    Accepted {
        /// The terms of the work.
        work: WorkTerms<Q>,
    },
    /// Waiting for the work invoice to be paid (or, for a job without an evaluation, for its invoice to be created).
    AwaitingWorkPayment {
        /// The terms of the work.
        work: WorkTerms<Q>,
        /// The payment hash of the work invoice; `None` until the invoice exists.
        invoice: Option<PaymentHash>,
    },
    /// The work is paid and running.
    Executing {
        /// The terms of the work.
        work: WorkTerms<Q>,
        /// The payment hash of the work invoice; `None` if the pool pays everything.
        invoice: Option<PaymentHash>,
    },
    /// The payment of the work is held at the wallet, and the work is running. Nothing has been received. The API reports `executing`.
    Held {
        /// The terms of the work.
        work: WorkTerms<Q>,
        /// The payment hash of the hold invoice.
        invoice: PaymentHash,
        /// When the work must be done; after that the payment is given back.
        until: Timestamp,
    },
    /// The work is done and the held payment is being taken. Nobody cancels it any more, and nobody is shown the result yet.
    /// The API reports `executing`.
    Settling {
        /// The terms of the work.
        work: WorkTerms<Q>,
        /// The payment hash of the hold invoice.
        invoice: PaymentHash,
        /// The result.
        answer: HeldAnswer<Q>,
    },
    /// The held payment is being given back. Nobody settles it any more. The API reports `executing`.
    Cancelling {
        /// The terms of the work.
        work: WorkTerms<Q>,
        /// The payment hash of the hold invoice.
        invoice: PaymentHash,
        /// Why, in words that customers may see.
        message: String,
    },
    /// The evaluation rejected the request.
    Rejected {
        /// The reason for the rejection.
        reason: String,
    },
    /// The work is complete.
    Complete {
        /// The terms of the work.
        work: WorkTerms<Q>,
        /// The payment hash of the work invoice; `None` if the pool paid everything.
        invoice: Option<PaymentHash>,
        /// The output and the cost split.
        completion: Completion<Q>,
    },
    /// The server failed to evaluate the request or to do the work.
    Failed {
        /// The reason, in words that customers may see.
        message: String,
        /// The terms of the work, if the job got that far.
        work: Option<WorkTerms<Q>>,
        /// The payment hash of the work invoice, if there was one.
        invoice: Option<PaymentHash>,
    },
    /// An invoice expired unpaid.
    Expired {
        /// The terms of the work, if the job got that far.
        work: Option<WorkTerms<Q>>,
        /// The payment hash of the expired work invoice, if there was one.
        invoice: Option<PaymentHash>,
    },
}

/// The name of a state, as used by the API and the stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum StateName {
    /// Waiting for the evaluation fee.
    AwaitingEvalPayment,
    /// The request is being evaluated.
    Evaluating,
    /// Waiting for the work invoice to be paid.
    AwaitingWorkPayment,
    /// The work is running.
    Executing,
    /// The evaluation rejected the request.
    Rejected,
    /// The work is complete.
    Complete,
    /// The server failed to evaluate the request or to do the work.
    Failed,
    /// An invoice expired unpaid.
    Expired,
}

impl StateName {
    /// All state names.
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

    /// The name as text.
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

    /// Returns true if the state is final. Only a refund for a late payment can still be added to such a job.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Rejected | Self::Complete | Self::Failed | Self::Expired)
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no state of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown job state: {0:?}")]
pub struct UnknownState(String);

impl FromStr for StateName {
    type Err = UnknownState;
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let found = Self::ALL.into_iter().find(|name| name.as_str() == text);
        found.ok_or_else(|| UnknownState(text.to_owned()))
    }
}

impl<Q: Priced> JobState<Q> {
    /// The state's public name.
    #[must_use]
    pub const fn name(&self) -> StateName {
        match self {
            Self::AwaitingEvalPayment => StateName::AwaitingEvalPayment,
            Self::Evaluating | Self::Accepted { .. } => StateName::Evaluating,
            Self::AwaitingWorkPayment { .. } => StateName::AwaitingWorkPayment,
            Self::Executing { .. } | Self::Held { .. } | Self::Settling { .. } | Self::Cancelling { .. } => {
                StateName::Executing
            }
            Self::Rejected { .. } => StateName::Rejected,
            Self::Complete { .. } => StateName::Complete,
            Self::Failed { .. } => StateName::Failed,
            Self::Expired { .. } => StateName::Expired,
        }
    }

    /// Returns true if a worker has something to do for the job.
    #[must_use]
    pub const fn is_runnable(&self) -> bool {
        matches!(
            self,
            Self::Evaluating
                | Self::Accepted { .. }
                | Self::Executing { .. }
                | Self::Held { .. }
                | Self::Settling { .. }
                | Self::Cancelling { .. }
        )
    }

    /// The terms of the work, once they are known.
    #[must_use]
    pub const fn work(&self) -> Option<&WorkTerms<Q>> {
        match self {
            Self::Accepted { work }
            | Self::AwaitingWorkPayment { work, .. }
            | Self::Executing { work, .. }
            | Self::Held { work, .. }
            | Self::Settling { work, .. }
            | Self::Cancelling { work, .. }
            | Self::Complete { work, .. } => Some(work),
            Self::Failed { work, .. } | Self::Expired { work, .. } => work.as_ref(),
            Self::AwaitingEvalPayment | Self::Evaluating | Self::Rejected { .. } => None,
        }
    }

    /// The payment hash of the work invoice, once the invoice exists.
    #[must_use]
    pub const fn work_invoice(&self) -> Option<PaymentHash> {
        match self {
            Self::AwaitingWorkPayment { invoice, .. }
            | Self::Executing { invoice, .. }
            | Self::Complete { invoice, .. }
            | Self::Failed { invoice, .. }
            | Self::Expired { invoice, .. } => *invoice,
            Self::Held { invoice, .. }
            | Self::Settling { invoice, .. }
            | Self::Cancelling { invoice, .. } => Some(*invoice),
            Self::AwaitingEvalPayment | Self::Evaluating | Self::Accepted { .. } | Self::Rejected { .. } => {
                None
            }
        }
    }
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(bound(
        serialize = "Q: serde::Serialize, Q::Usage: serde::Serialize",
        deserialize = "Q: serde::de::DeserializeOwned, Q::Usage: serde::de::DeserializeOwned"
    ))
)]
pub struct Job<Q: Priced = Quote> {
    /// The job's id.
    pub id: JobId,
    /// The customer's request.
    pub request: Arc<str>,
    /// The model that runs the work.
    pub model: String,
    /// The output limit that the customer asked for, in tokens.
    pub max_output_tokens: Option<u64>,
    /// The identity that requested the job; `None` for anonymous customers.
    pub identity: Option<NostrPubkey>,
    /// The evaluation and its fee; `None` if the request is not evaluated.
    pub evaluation: Option<Evaluation<Q>>,
    /// How the work is paid: what the customer has chosen, until there is an invoice for the work, and then what that invoice is.
    #[cfg_attr(feature = "serde", serde(default))]
    pub work_payment: WorkPayment,
    /// The job's state.
    pub state: JobState<Q>,
    /// The refund owed to the customer.
    pub refund: Refund,
    /// The worker lease.
    pub lease: Lease,
    /// The number of transitions so far: 0 for a new job.
    pub revision: u32,
    /// When the job was created.
    pub created_at: Timestamp,
    /// When the job last changed state.
    pub updated_at: Timestamp,
    /// When its texts were deleted: the request, and the result, the reason or the message that it ended with. They are empty since.
    pub text_deleted_at: Option<Timestamp>,
}

/// The data that a new job is created from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob<Q: Priced = Quote> {
    /// The job's id.
    pub id: JobId,
    /// The customer's request.
    pub request: Arc<str>,
    /// The model that will run the work.
    pub model: String,
    /// The output limit that the customer wants, in tokens.
    pub max_output_tokens: Option<u64>,
    /// The identity that requests the job; `None` for anonymous customers.
    pub identity: Option<NostrPubkey>,
    /// The first step.
    pub start: JobStart<Q>,
    /// The current time.
    pub created_at: Timestamp,
}

/// How a job starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobStart<Q: Priced = Quote> {
    /// With an evaluation of the request, which decides whether the work is offered.
    Evaluation {
        /// The quote that the fee is derived from.
        quote: Q,
        /// The fee.
        fee: Sats,
    },
    /// With the work, on these terms.
    Work(WorkTerms<Q>),
}

impl<Q: Priced> Job<Q> {
    /// Creates a job whose first invoice does not exist yet. Work that the pool pays alone has no invoice and can run at once.
    #[must_use]
    pub fn new(new: NewJob<Q>) -> Self {
        let (evaluation, state) = match new.start {
            JobStart::Evaluation { quote, fee } => {
                (Some(Evaluation { quote, fee, invoice: None }), JobState::AwaitingEvalPayment)
            }
            JobStart::Work(work) if work.is_free() => (None, JobState::Executing { work, invoice: None }),
            JobStart::Work(work) => (None, JobState::AwaitingWorkPayment { work, invoice: None }),
        };
        Self {
            id: new.id,
            request: new.request,
            model: new.model,
            max_output_tokens: new.max_output_tokens,
            identity: new.identity,
            evaluation,
            work_payment: WorkPayment::default(),
            state,
            refund: Refund::NotApplicable,
            lease: Lease::default(),
            revision: 0,
            created_at: new.created_at,
            updated_at: new.created_at,
            text_deleted_at: None,
        }
    }

    /// The job without its texts; `None` while it may still need them, and when they were deleted before. Amounts, tokens and times stay.
    #[must_use]
    pub fn without_texts(&self, now: Timestamp) -> Option<Self>
    where
        Self: Clone,
    {
        if self.text_deleted_at.is_some() || !self.state.name().is_terminal() {
            return None;
        }
        let mut state = self.state.clone();
        match &mut state {
            JobState::Rejected { reason: text } | JobState::Failed { message: text, .. } => text.clear(),
            JobState::Complete { completion, .. } => completion.text = "".into(),
            _ => {}
        }
        Some(Self { request: "".into(), state, text_deleted_at: Some(now), ..self.clone() })
    }

    /// The fee of the evaluation; zero without one.
    #[must_use]
    pub fn evaluation_fee(&self) -> Sats {
        self.evaluation.as_ref().map_or(Sats::ZERO, |evaluation| evaluation.fee)
    }

    /// The payment hash of the evaluation's invoice, once the invoice exists.
    #[must_use]
    pub fn evaluation_invoice(&self) -> Option<PaymentHash> {
        self.evaluation.as_ref().and_then(|evaluation| evaluation.invoice)
    }
}
