//! The shapes that go over the wire.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tithe_clock::Timestamp;
use tithe_engine::{CreatedJob, Estimate, JobView};
use tithe_jobs::{Job, JobChange, JobState, Refund, StateName};
use tithe_lightning::{Invoice, InvoiceState};
use tithe_money::{BasisPoints, MoneyError, UsdMicros};
use utoipa::ToSchema;

/// A decimal number, written exactly.
#[derive(Debug, Clone)]
pub(crate) struct Decimal(Box<RawValue>);

impl Decimal {
    fn of(number: impl std::fmt::Display) -> Self {
        // What `UsdMicros` and `BasisPoints` print is a JSON number.
        Self(RawValue::from_string(number.to_string()).unwrap_or_default())
    }
}

impl From<UsdMicros> for Decimal {
    fn from(amount: UsdMicros) -> Self {
        Self::of(amount)
    }
}

impl From<BasisPoints> for Decimal {
    fn from(ratio: BasisPoints) -> Self {
        Self::of(ratio.percents())
    }
}

impl Serialize for Decimal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// A job that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewJobBody {
    /// What you want done, in your words. Text with tabs and line breaks, no other control characters.
    #[schema(example = "Why is the sky blue?")]
    pub(crate) request: String,
    /// The model to use; the server's choice without it.
    pub(crate) model: Option<String>,
    /// The most output that you want, in tokens. Less is cheaper to begin with; what is not used is owed back anyway.
    pub(crate) max_output_tokens: Option<u64>,
    /// An identity's token.
    #[serde(rename = "nostr_token")]
    pub(crate) nostr_token: Option<String>,
}

/// An invoice to be paid.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InvoiceBody {
    /// The BOLT11 invoice.
    #[schema(example = "lnbc20n1…")]
    payment_request: String,
    /// What names the payment: 64 hex digits.
    payment_hash: String,
    /// What it asks for, in sats.
    amount_sats: u64,
    /// From when on it cannot be paid.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl TryFrom<&Invoice> for InvoiceBody {
    type Error = MoneyError;

    fn try_from(invoice: &Invoice) -> Result<Self, MoneyError> {
        Ok(Self {
            payment_request: invoice.payment_request.clone(),
            payment_hash: invoice.payment_hash.to_string(),
            amount_sats: invoice.amount.to_sats_rounding_up()?.get(),
            expires_at: invoice.expires_at,
        })
    }
}

/// A job that was made.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedJobBody {
    /// What names the job. Whoever knows it can read the job.
    job_id: String,
    /// Where it stands: `awaiting_eval_payment`.
    state: &'static str,
    /// The invoice for the evaluation.
    eval_invoice: InvoiceBody,
    /// Proves that you made the job: needed to claim a refund. Keep it secret.
    claim_token: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The identity's tier.
    #[serde(rename = "trust_tier")]
    trust_tier: &'static str,
}

impl TryFrom<&CreatedJob> for CreatedJobBody {
    type Error = MoneyError;

    fn try_from(created: &CreatedJob) -> Result<Self, MoneyError> {
        Ok(Self {
            job_id: created.job.id.to_string(),
            state: created.job.state.name().as_str(),
            eval_invoice: InvoiceBody::try_from(&created.invoice)?,
            claim_token: created.claim_token.clone(),
            created_at: created.job.created_at,
            trust_tier: ANONYMOUS,
        })
    }
}

/// The tier of who presents no identity.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// What the work costs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PricingBody {
    /// The most that the work can cost, in dollars, margin included.
    #[schema(value_type = f64)]
    estimated_cost_usd: Decimal,
    /// The margin in it, in percent of cost.
    #[schema(value_type = f64)]
    margin_pct: Decimal,
    /// The BTC price that it is charged at.
    #[schema(value_type = f64)]
    btc_price_usd: Decimal,
    /// What is left for you to pay, in sats.
    amount_sats: u64,
    /// The whole, in sats.
    full_amount_sats: u64,
}

/// What the work used.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UsageBody {
    /// Input tokens.
    input_tokens: u64,
    /// Those of them that the backend had cached.
    cached_input_tokens: u64,
    /// Output tokens.
    output_tokens: u64,
    /// What that costs, in dollars, margin included.
    #[schema(value_type = f64)]
    cost_usd: Decimal,
    /// What that costs, in sats, rounded up.
    cost_sats: u64,
}

/// Who paid for the work.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ChargedBody {
    /// What you paid, in sats: what you paid in less what is owed back.
    charged_sats: u64,
    /// What the pool paid, in sats.
    absorbed_sats: u64,
}

/// What is owed back.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RefundBody {
    /// `not_applicable`, `pending`, `paying` or `paid`.
    state: &'static str,
    /// How much, in sats.
    amount_sats: u64,
}

impl From<Refund> for RefundBody {
    fn from(refund: Refund) -> Self {
        Self { state: refund.name(), amount_sats: refund.amount().get() }
    }
}

/// A job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobBody {
    /// What names it.
    job_id: String,
    /// Where it stands: `awaiting_eval_payment`, `evaluating`, `awaiting_work_payment`, `executing`, `rejected`,
    /// `complete`, `failed` or `expired`.
    state: &'static str,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// The identity's tier.
    #[serde(rename = "trust_tier")]
    trust_tier: &'static str,
    /// Whether the pool pays for all of it.
    #[serde(rename = "free_tier")]
    free_tier: bool,
    /// What the pool pays, in sats.
    #[serde(rename = "absorbed_sats")]
    absorbed_sats: u64,
    /// `awaiting_eval_payment`: the invoice for the evaluation.
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_invoice: Option<InvoiceBody>,
    /// `awaiting_work_payment`: the invoice for the work.
    #[serde(skip_serializing_if = "Option::is_none")]
    work_invoice: Option<InvoiceBody>,
    /// `awaiting_work_payment`: what the work costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pricing: Option<PricingBody>,
    /// `rejected`: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// `complete`: the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    /// `complete`: what it used.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageBody>,
    /// `complete`: who paid for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    charged: Option<ChargedBody>,
    /// `failed`: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    /// `rejected`, `complete`, `failed`, `expired`: what is owed back.
    #[serde(skip_serializing_if = "Option::is_none")]
    refund: Option<RefundBody>,
}

impl JobBody {
    /// The job as it is.
    pub(crate) fn now(view: &JobView) -> Result<Self, MoneyError> {
        Self::at(view, view.job.state.name(), view.job.updated_at)
    }

    /// The job as it was after a step.
    pub(crate) fn after(view: &JobView, change: &JobChange) -> Result<Self, MoneyError> {
        Self::at(view, change.state, change.at)
    }

    fn at(view: &JobView, state: StateName, updated_at: Timestamp) -> Result<Self, MoneyError> {
        let job = &view.job;
        let mut body = Self {
            job_id: job.id.to_string(),
            state: state.as_str(),
            created_at: job.created_at,
            updated_at,
            trust_tier: ANONYMOUS,
            free_tier: false,
            absorbed_sats: 0,
            eval_invoice: None,
            work_invoice: None,
            pricing: None,
            reason: None,
            result: None,
            usage: None,
            charged: None,
            error_message: None,
            refund: state.is_terminal().then(|| job.refund.into()),
        };
        match state {
            StateName::AwaitingEvalPayment => {
                body.eval_invoice = view.eval_invoice.as_ref().map(InvoiceBody::try_from).transpose()?;
            }
            StateName::AwaitingWorkPayment => {
                body.work_invoice = view.work_invoice.as_ref().map(InvoiceBody::try_from).transpose()?;
                body.pricing = pricing(job);
            }
            _ => body.add_end(job, view)?,
        }
        Ok(body)
    }

    fn add_end(&mut self, job: &Job, view: &JobView) -> Result<(), MoneyError> {
        match &job.state {
            JobState::Rejected { reason } if self.refund.is_some() => self.reason = Some(reason.clone()),
            JobState::Failed { message, .. } if self.refund.is_some() => {
                self.error_message = Some(message.clone());
            }
            JobState::Complete { completion, .. } if self.refund.is_some() => {
                let settlement = &completion.settlement;
                self.result = Some(completion.text.to_string());
                self.usage = Some(UsageBody {
                    input_tokens: completion.usage.input_tokens,
                    cached_input_tokens: completion.usage.cached_input_tokens,
                    output_tokens: completion.usage.output_tokens,
                    cost_usd: settlement.price.usd.into(),
                    cost_sats: settlement.price.msats.to_sats_rounding_up()?.get(),
                });
                let paid = view.work_invoice.as_ref().map_or(0, |invoice| match invoice.state {
                    InvoiceState::Paid { received, .. } => received.to_sats_rounding_down().get(),
                    _ => 0,
                });
                self.charged = Some(ChargedBody {
                    charged_sats: paid.saturating_sub(settlement.refund.get()),
                    absorbed_sats: settlement.absorbed.to_sats_rounding_up()?.get(),
                });
            }
            _ => {}
        }
        Ok(())
    }
}

fn pricing(job: &Job) -> Option<PricingBody> {
    let work = job.state.work()?;
    Some(PricingBody {
        estimated_cost_usd: work.quote.max.usd.into(),
        margin_pct: work.quote.terms.margin.into(),
        btc_price_usd: work.quote.terms.btc.price.usd_micros().into(),
        amount_sats: work.amount.get(),
        full_amount_sats: work.full_amount.get(),
    })
}

/// The span of what a request can cost.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RangeBody {
    /// The least, in sats.
    min_sats: u64,
    /// The most, in sats: what you are asked to pay before what is not used is owed back.
    max_sats: u64,
}

/// What a request is expected to use.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TokenEstimateBody {
    /// Tokens of your request.
    input_tokens: u64,
    /// Tokens of the answer, as expected.
    output_tokens: u64,
    /// The model.
    model: String,
}

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
struct IdentityBody {
    /// The identity's tier; `anonymous` without one.
    trust_tier: &'static str,
}

/// What a request would cost: its evaluation and its work together.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EstimateBody {
    /// What is expected, in sats, rounded up.
    estimated_sats: u64,
    /// The same, exactly.
    estimated_msats: u64,
    /// The same in dollars, margin included.
    #[schema(value_type = f64)]
    estimated_cost_usd: Decimal,
    /// The part of it that the evaluation costs, in sats: flat, paid first, not given back once it has run.
    evaluation_fee_sats: u64,
    /// The BTC price that it was worked out at.
    #[schema(value_type = f64)]
    btc_price_usd: Decimal,
    /// From the least to the most.
    range: RangeBody,
    /// What was counted.
    token_estimate: TokenEstimateBody,
    /// Who asks.
    identity: IdentityBody,
}

impl TryFrom<&Estimate> for EstimateBody {
    type Error = MoneyError;

    fn try_from(estimate: &Estimate) -> Result<Self, MoneyError> {
        Ok(Self {
            estimated_sats: estimate.expected.to_sats_rounding_up()?.get(),
            estimated_msats: estimate.expected.get(),
            estimated_cost_usd: estimate.expected_usd.into(),
            evaluation_fee_sats: estimate.evaluation_fee.get(),
            btc_price_usd: estimate.btc.price.usd_micros().into(),
            range: RangeBody {
                min_sats: estimate.min.to_sats_rounding_up()?.get(),
                max_sats: estimate.max.to_sats_rounding_up()?.get(),
            },
            token_estimate: TokenEstimateBody {
                input_tokens: estimate.work.tokens.input,
                output_tokens: estimate.work.tokens.output,
                model: estimate.work.model.clone(),
            },
            identity: IdentityBody { trust_tier: ANONYMOUS },
        })
    }
}

/// Where an invoice stands. Never with its preimage.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InvoiceStateBody {
    /// What names the payment.
    payment_hash: String,
    /// `pending`, `paid` or `expired`.
    state: &'static str,
    /// What it pays for: `job_eval` or `job_work`.
    purpose: &'static str,
    /// Where what it pays for can be read.
    #[schema(example = "/api/jobs/019a…")]
    owner_path: String,
    /// When it was paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    paid_at: Option<Timestamp>,
}

impl From<&Invoice> for InvoiceStateBody {
    fn from(invoice: &Invoice) -> Self {
        Self {
            payment_hash: invoice.payment_hash.to_string(),
            state: invoice.state.name(),
            purpose: invoice.purpose.name(),
            owner_path: format!("/api/jobs/{}", invoice.owner),
            paid_at: match invoice.state {
                InvoiceState::Paid { paid_at, .. } => Some(paid_at),
                _ => None,
            },
        }
    }
}

/// A test payment that was made.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TestPaymentBody {
    /// Always true.
    pub(crate) ok: bool,
    /// What names the payment.
    pub(crate) payment_hash: String,
    /// The proof of payment.
    pub(crate) preimage: String,
}
