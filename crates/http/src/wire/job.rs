//! The bodies of jobs.

use super::refund::RefundBody;
use super::vocabulary::{FinishReasonName, JobStateName, TierName, WorkPaymentName};
use super::{Decimal, InvoiceBody, present};
use serde::{Deserialize, Serialize};
use tithe_clock::Timestamp;
use tithe_engine::jobs::{CreatedJob, JobListing, JobView};
use tithe_jobs::{Job, JobChange, JobState, StateName, WorkPayment, WorkTerms};
use tithe_lightning::InvoiceState;
use tithe_money::{MoneyError, Msats};
use utoipa::ToSchema;

/// A request to create a job.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({ "request": "Why is the sky blue?", "maxOutputTokens": 500 }))]
pub(crate) struct NewJobBody {
    /// The text of the request. Tabs and line breaks are allowed, other control characters are not.
    #[schema(min_length = 1, max_length = 262_144)]
    pub(crate) request: String,
    /// The model to use. Defaults to the server's choice.
    pub(crate) model: Option<String>,
    /// The maximum length of the output, in tokens. A lower limit reduces the invoice; anything unused is refunded.
    #[schema(minimum = 1)]
    pub(crate) max_output_tokens: Option<u64>,
    /// How the work is to be paid. `prepaid`, the default: before it begins. `held`: with a hold invoice, if the server has them; the
    /// payment is held while the work runs, taken when it is done, and given back if it fails. The text of such work is not streamed.
    #[schema(value_type = Option<WorkPaymentName>)]
    pub(crate) payment: Option<WorkPayment>,
    /// The token of an identity.
    #[serde(rename = "nostr_token", alias = "nostrToken")]
    pub(crate) nostr_token: Option<String>,
}

/// A created job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedJobBody {
    /// The id of the job. Anyone who knows it can read the job.
    #[schema(format = "uuid")]
    job_id: String,
    /// The state: `awaiting_eval_payment`.
    #[schema(value_type = JobStateName)]
    state: &'static str,
    /// The invoice for the evaluation.
    eval_invoice: InvoiceBody,
    /// The token that is required to claim a refund. Keep it secret.
    claim_token: String,
    /// The time of creation.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The trust tier of the identity that created the job.
    #[serde(rename = "trust_tier")]
    #[schema(value_type = TierName)]
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

/// The price of the work.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PricingBody {
    /// The maximum price of the work, in US dollars, including the margin.
    #[schema(value_type = f64)]
    estimated_cost_usd: Decimal,
    /// The margin, in percent of the cost.
    #[schema(value_type = f64)]
    margin_pct: Decimal,
    /// The BTC price used for the conversion, in US dollars.
    #[schema(value_type = f64)]
    btc_price_usd: Decimal,
    /// The amount of the work invoice, in sats, after the pool's share.
    amount_sats: u64,
    /// The full amount, in sats, including the pool's share.
    full_amount_sats: u64,
}

/// The resources that the work used.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UsageBody {
    /// The number of input tokens.
    input_tokens: u64,
    /// The number of input tokens that the backend read from its cache.
    cached_input_tokens: u64,
    /// The number of input tokens that the backend wrote to its cache; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
    /// The number of output tokens, including reasoning.
    output_tokens: u64,
    /// The number of output tokens of reasoning; absent if there are none, or the backend does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_tokens: Option<u64>,
    /// The price of the work, in US dollars, including the margin.
    #[schema(value_type = f64)]
    cost_usd: Decimal,
    /// The price of the work, in sats, rounded up.
    cost_sats: u64,
    /// True if the backend reported no usage, so that the tokens were counted; absent otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    estimated: bool,
}

/// The shares of the price that you and the pool paid.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ChargedBody {
    /// The amount that you paid for the work, in sats: the paid work invoice less the refund. It does not include the
    /// evaluation fee.
    charged_sats: u64,
    /// The amount that the pool paid, in sats, rounded up. With `chargedSats`, it adds up to the price of the work.
    absorbed_sats: u64,
}

/// A job in a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobSummaryBody {
    /// The id of the job.
    #[schema(format = "uuid")]
    job_id: String,
    /// The state.
    #[schema(value_type = JobStateName)]
    state: &'static str,
    /// The model that the work runs on.
    model: String,
    /// The time of creation.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The time of the last state change.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// The refund of an ended job.
    #[serde(skip_serializing_if = "Option::is_none")]
    refund: Option<RefundBody>,
}

impl From<&JobListing> for JobSummaryBody {
    fn from(listing: &JobListing) -> Self {
        let JobListing { job, refund } = listing;
        Self {
            job_id: job.id.to_string(),
            state: job.state.as_str(),
            model: job.model.clone(),
            created_at: job.created_at,
            updated_at: job.updated_at,
            refund: job
                .state
                .is_terminal()
                .then(|| refund.as_ref().map_or_else(RefundBody::none, RefundBody::from)),
        }
    }
}

/// A page of jobs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobListBody {
    /// The jobs, newest first.
    pub(crate) jobs: Vec<JobSummaryBody>,
    /// The `cursor` of the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid")]
    pub(crate) next_cursor: Option<String>,
}

/// More of the text of running work.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeltaBody {
    /// The text.
    pub(crate) text: String,
    /// The attempt that the text belongs to. A new attempt starts the text anew.
    pub(crate) attempt: u32,
}

/// The data of an event of a job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "this type exists for the API's document only")]
pub(crate) enum JobEventBody {
    /// Of `event: state`.
    State(Box<JobBody>),
    /// Of `event: delta`.
    Delta(DeltaBody),
}

/// A job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobBody {
    /// The id of the job.
    #[schema(format = "uuid")]
    job_id: String,
    /// The state: `awaiting_eval_payment`, `evaluating`, `awaiting_work_payment`, `executing`, `rejected`,
    /// `complete`, `failed` or `expired`.
    #[schema(value_type = JobStateName)]
    state: &'static str,
    /// The time of creation.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The time of the last state change.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// The trust tier of the identity that created the job.
    #[serde(rename = "trust_tier")]
    #[schema(value_type = TierName)]
    trust_tier: &'static str,
    /// Whether the pool pays for the work in full or in part.
    #[serde(rename = "free_tier")]
    free_tier: bool,
    /// The amount that the pool pays, in sats: the reserved maximum until the work is complete, then the actual amount.
    /// It is zero if the job is rejected, fails or expires.
    #[serde(rename = "absorbed_sats")]
    absorbed_sats: u64,
    /// `held` if the invoice for the work is a hold invoice: its payment is held while the job is `executing`, taken when the work is
    /// done, and given back if it fails. Until there is that invoice, it is what was chosen. Absent if the work is paid beforehand.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<WorkPaymentName>, nullable = false)]
    payment: Option<&'static str>,
    /// `awaiting_eval_payment`: the invoice for the evaluation.
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_invoice: Option<InvoiceBody>,
    /// `awaiting_work_payment`: the invoice for the work, less the pool's share.
    #[serde(skip_serializing_if = "Option::is_none")]
    work_invoice: Option<InvoiceBody>,
    /// `awaiting_work_payment`: the price of the work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pricing: Option<PricingBody>,
    /// When the texts of the job were deleted: `result`, `reason` and `errorMessage` are empty since. Absent while they are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    text_deleted_at: Option<Timestamp>,
    /// `rejected`: the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// `complete`: the text of the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    /// `complete`: why the result ended: `stop` (it is whole), `length` (it was cut by a limit; it may be empty if the model's
    /// reasoning took all of it), `content_filter` or `interrupted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<FinishReasonName>)]
    finish_reason: Option<&'static str>,
    /// `complete`: the resources that the work used.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageBody>,
    /// `complete`: the shares of the price that you and the pool paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    charged: Option<ChargedBody>,
    /// `failed`: the error message.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    /// `rejected`, `complete`, `failed` or `expired`: the refund.
    #[serde(skip_serializing_if = "Option::is_none")]
    refund: Option<RefundBody>,
}

impl JobBody {
    /// The job in its current state.
    pub(crate) fn now(view: &JobView) -> Result<Self, MoneyError> {
        Self::at(view, view.job.state.name(), view.job.updated_at)
    }

    /// The job as it was after an earlier state change.
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
            payment: (job.work_payment == WorkPayment::Held).then_some(job.work_payment.as_str()),
            eval_invoice: None,
            work_invoice: None,
            pricing: None,
            text_deleted_at: state.is_terminal().then_some(job.text_deleted_at).flatten(),
            reason: None,
            result: None,
            finish_reason: None,
            usage: None,
            charged: None,
            error_message: None,
            refund: state.is_terminal().then(|| RefundBody::from(&view.refund)),
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
                self.finish_reason = Some(completion.finish.as_str());
                self.usage = Some(UsageBody {
                    input_tokens: completion.usage.input_tokens,
                    cached_input_tokens: completion.usage.cached_input_tokens,
                    cache_write_tokens: present(completion.usage.cache_writes()),
                    output_tokens: completion.usage.output_tokens,
                    reasoning_tokens: present(completion.usage.reasoning_tokens),
                    cost_usd: settlement.price.usd.into(),
                    cost_sats: settlement.price.msats.to_sats_rounding_up()?.get(),
                    estimated: completion.estimated,
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

/// The amount that the pool had paid or reserved for the work when the job was in `state`.
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
