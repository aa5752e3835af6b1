//! Jobs.

use super::{Decimal, InvoiceBody};
use serde::{Deserialize, Serialize};
use tithe_clock::Timestamp;
use tithe_engine::{CreatedJob, JobView};
use tithe_jobs::{Job, JobChange, JobState, Refund, StateName, WorkTerms};
use tithe_lightning::InvoiceState;
use tithe_money::{MoneyError, Msats};
use utoipa::ToSchema;

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
            trust_tier: created.tier.as_str(),
        })
    }
}

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
    /// What is left for you to pay, in sats, after the pool's part.
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
    /// What you paid for the work, in sats: what you paid in for it less what is owed back. The evaluation's fee is not
    /// in it.
    charged_sats: u64,
    /// What the pool paid, in sats, rounded up. With `chargedSats` it is what the work cost.
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
    /// Whether the pool pays for the work, or for a part of it.
    #[serde(rename = "free_tier")]
    free_tier: bool,
    /// What the pool pays, in sats: the most while the work waits or runs, the amount once it is done, and nothing when it
    /// comes to nothing.
    #[serde(rename = "absorbed_sats")]
    absorbed_sats: u64,
    /// `awaiting_eval_payment`: the invoice for the evaluation.
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_invoice: Option<InvoiceBody>,
    /// `awaiting_work_payment`: the invoice for the work, less what the pool pays.
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
        let absorbed_sats = absorbed(&job.state, state).to_sats_rounding_up()?.get();
        let mut body = Self {
            job_id: job.id.to_string(),
            state: state.as_str(),
            created_at: job.created_at,
            updated_at,
            trust_tier: view.tier.as_str(),
            free_tier: absorbed_sats > 0,
            absorbed_sats,
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

/// What the pool paid of the work, or has set aside for it, when the job was in `state`.
fn absorbed(job: &JobState, state: StateName) -> Msats {
    match (state, job) {
        (StateName::AwaitingWorkPayment | StateName::Executing, _) => {
            job.work().map_or(Msats::ZERO, WorkTerms::reserved)
        }
        (StateName::Complete, JobState::Complete { completion, .. }) => completion.settlement.absorbed,
        _ => Msats::ZERO,
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
