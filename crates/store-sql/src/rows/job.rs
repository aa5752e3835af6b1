//! Jobs.

use super::{Reader, count_column, json, usage_buckets};
use crate::schema::jobs;
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tithe_engine::store::StoreError;
use tithe_jobs::{
    Completion, Evaluation, FinishReason, HeldAnswer, Job, JobId, JobState, JobSummary, Lease, LeaseOwner,
    Refund, StateName, WorkPayment, WorkTerms,
};
use tithe_lightning::PaymentHash;
use tithe_money::Sats;
use tithe_pricing::{Price, Quote, Usage};

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = jobs)]
#[diesel(treat_none_as_null = true)]
pub struct JobRow {
    pub id: String,
    pub request: String,
    pub model: String,
    pub max_output_tokens: Option<i64>,
    pub state: String,
    pub eval_quote: String,
    pub eval_amount_msats: i64,
    pub eval_invoice: Option<String>,
    pub work_terms: Option<String>,
    pub work_invoice: Option<String>,
    pub rejection_reason: Option<String>,
    pub error_message: Option<String>,
    pub result: Option<String>,
    pub actual_input_tokens: Option<i64>,
    pub actual_cached_input_tokens: Option<i64>,
    pub actual_output_tokens: Option<i64>,
    pub actual_buckets: Option<String>,
    pub finish_reason: Option<String>,
    pub settlement: Option<String>,
    pub refund_state: String,
    pub refund_amount_msats: i64,
    pub revision: i64,
    pub lease_owner: Option<String>,
    pub lease_until: Option<i64>,
    pub attempts: i64,
    pub claims: i64,
    pub created_at: i64,
    pub updated_at: i64,
    pub nostr_pubkey: Option<String>,
    pub usage_estimated: bool,
    pub text_deleted_at: Option<i64>,
    pub held_payment: Option<String>,
}

/// A job without its texts.
#[derive(Queryable, Selectable)]
#[diesel(table_name = jobs)]
pub struct JobSummaryRow {
    pub id: String,
    pub state: String,
    pub model: String,
    pub created_at: i64,
    pub updated_at: i64,
    pub refund_state: String,
    pub refund_amount_msats: i64,
    pub held_payment: Option<String>,
}

impl TryFrom<JobSummaryRow> for JobSummary {
    type Error = StoreError;

    fn try_from(row: JobSummaryRow) -> Result<Self, StoreError> {
        let read = Reader::new("job", &row.id);
        let held = HeldPaymentColumn::read(&read, row.held_payment.as_deref())?;
        // The steps that are not seen from outside.
        let state = match row.state.as_str() {
            "accepted" => StateName::Evaluating,
            _ if held.is_some_and(|held| held.is_held()) => StateName::Executing,
            state => read.column("state", state.parse())?,
        };
        Ok(Self {
            id: JobId(read.column("id", row.id.parse())?),
            state,
            model: row.model,
            created_at: read.time("created_at", row.created_at)?,
            updated_at: read.time("updated_at", row.updated_at)?,
            refund: read.refund(&row.refund_state, row.refund_amount_msats)?,
        })
    }
}

const fn state_column(state: &JobState) -> &'static str {
    match state {
        JobState::Accepted { .. } => "accepted",
        // Nobody has received a payment: see `waiting_jobs::HELD`.
        JobState::Held { .. } | JobState::Settling { .. } | JobState::Cancelling { .. } => {
            StateName::AwaitingWorkPayment.as_str()
        }
        _ => state.name().as_str(),
    }
}

/// What is stored of a job whose work is paid with a hold invoice.
#[derive(Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
enum HeldPaymentColumn {
    /// No payment is held, not yet or no longer.
    Chosen,
    Held {
        until: i64,
    },
    Settling {
        price: Price,
    },
    Cancelling,
}

impl HeldPaymentColumn {
    fn of(job: &Job) -> Option<Self> {
        Some(match &job.state {
            JobState::Held { until, .. } => Self::Held { until: until.unix_micros() },
            JobState::Settling { answer, .. } => Self::Settling { price: answer.price },
            JobState::Cancelling { .. } => Self::Cancelling,
            _ if job.work_payment == WorkPayment::Held => Self::Chosen,
            _ => return None,
        })
    }

    fn read(read: &Reader, column: Option<&str>) -> Result<Option<Self>, StoreError> {
        read.column("held_payment", column.map(serde_json::from_str).transpose())
    }

    /// Whether a payment is held.
    const fn is_held(&self) -> bool {
        !matches!(self, Self::Chosen)
    }
}

/// What is stored of the result of work, whether its payment is settled or not.
struct ResultColumns<'a> {
    text: &'a str,
    usage: Usage,
    estimated: bool,
    finish: FinishReason,
}

impl<'a> ResultColumns<'a> {
    fn of(state: &'a JobState) -> Option<Self> {
        match state {
            JobState::Complete { completion: Completion { text, usage, estimated, finish, .. }, .. }
            | JobState::Settling { answer: HeldAnswer { text, usage, estimated, finish, .. }, .. } => {
                Some(Self { text, usage: *usage, estimated: *estimated, finish: *finish })
            }
            _ => None,
        }
    }
}

impl TryFrom<&Job> for JobRow {
    type Error = StoreError;

    fn try_from(job: &Job) -> Result<Self, StoreError> {
        let settlement = match &job.state {
            JobState::Complete { completion, .. } => Some(&completion.settlement),
            _ => None,
        };
        let result = ResultColumns::of(&job.state);
        let usage = result.as_ref().map(|result| result.usage);
        Ok(Self {
            id: job.id.to_string(),
            request: job.request.to_string(),
            model: job.model.clone(),
            max_output_tokens: job.max_output_tokens.map(count_column),
            state: state_column(&job.state).to_owned(),
            // `null` for a job without an evaluation.
            eval_quote: json(&job.evaluation.as_ref().map(|evaluation| &evaluation.quote))?,
            eval_amount_msats: job.evaluation_fee().to_msats().to_i64(),
            eval_invoice: job.evaluation_invoice().map(|hash| hash.to_string()),
            work_terms: job.state.work().map(json).transpose()?,
            work_invoice: job.state.work_invoice().map(|hash| hash.to_string()),
            rejection_reason: match &job.state {
                JobState::Rejected { reason } => Some(reason.clone()),
                _ => None,
            },
            error_message: match &job.state {
                JobState::Failed { message, .. } | JobState::Cancelling { message, .. } => {
                    Some(message.clone())
                }
                _ => None,
            },
            result: result.as_ref().map(|result| result.text.to_owned()),
            actual_input_tokens: usage.map(|usage| count_column(usage.input_tokens)),
            actual_cached_input_tokens: usage.map(|usage| count_column(usage.cached_input_tokens)),
            actual_output_tokens: usage.map(|usage| count_column(usage.output_tokens)),
            actual_buckets: usage.and_then(|usage| usage_buckets::column(&usage)),
            finish_reason: result.as_ref().map(|result| result.finish.as_str().to_owned()),
            settlement: settlement.map(json).transpose()?,
            refund_state: job.refund.as_str().to_owned(),
            refund_amount_msats: job.refund.amount().to_msats().to_i64(),
            revision: job.revision.into(),
            lease_owner: job.lease.owner.map(|owner| owner.to_string()),
            lease_until: job.lease.until.map(tithe_clock::Timestamp::unix_micros),
            attempts: job.lease.attempts.into(),
            claims: job.lease.claims.into(),
            created_at: job.created_at.unix_micros(),
            updated_at: job.updated_at.unix_micros(),
            nostr_pubkey: job.identity.map(|pubkey| pubkey.to_string()),
            usage_estimated: result.is_some_and(|result| result.estimated),
            text_deleted_at: job.text_deleted_at.map(tithe_clock::Timestamp::unix_micros),
            held_payment: HeldPaymentColumn::of(job).as_ref().map(json).transpose()?,
        })
    }
}

impl TryFrom<JobRow> for Job {
    type Error = StoreError;

    fn try_from(row: JobRow) -> Result<Self, StoreError> {
        let read = Reader::new("job", &row.id);
        let owner = row.lease_owner.as_deref().map(|owner| owner.parse().map(LeaseOwner)).transpose();
        let until = row.lease_until.map(|until| read.time("lease_until", until)).transpose()?;
        let text_deleted_at = row.text_deleted_at.map(|at| read.time("text_deleted_at", at)).transpose()?;
        let identity =
            row.nostr_pubkey.as_deref().map(|pubkey| read.pubkey("nostr_pubkey", pubkey)).transpose()?;
        let refund = read.refund(&row.refund_state, row.refund_amount_msats)?;
        Ok(Self {
            id: JobId(read.column("id", row.id.parse())?),
            max_output_tokens: row
                .max_output_tokens
                .map(|n| read.count("max_output_tokens", n))
                .transpose()?,
            identity,
            evaluation: row.evaluation(&read)?,
            work_payment: match row.held_payment {
                Some(_) => WorkPayment::Held,
                None => WorkPayment::Prepaid,
            },
            state: row.state(&read)?,
            refund,
            lease: Lease {
                owner: read.column("lease_owner", owner)?,
                until,
                attempts: read.column("attempts", row.attempts.try_into())?,
                claims: read.column("claims", row.claims.try_into())?,
            },
            revision: read.column("revision", row.revision.try_into())?,
            created_at: read.time("created_at", row.created_at)?,
            updated_at: read.time("updated_at", row.updated_at)?,
            text_deleted_at,
            request: row.request.into(),
            model: row.model,
        })
    }
}

impl JobRow {
    fn evaluation(&self, read: &Reader) -> Result<Option<Evaluation>, StoreError> {
        let quote: Option<Quote> = read.column("eval_quote", serde_json::from_str(&self.eval_quote))?;
        let fee = read.sats("eval_amount_msats", self.eval_amount_msats)?;
        let invoice = read.hash("eval_invoice", self.eval_invoice.as_deref())?;
        Ok(quote.map(|quote| Evaluation { quote, fee, invoice }))
    }

    fn state(&self, read: &Reader) -> Result<JobState, StoreError> {
        let terms = self.work_terms.as_deref().map(serde_json::from_str::<WorkTerms>).transpose();
        let terms = read.column("work_terms", terms)?;
        let invoice = read.hash("work_invoice", self.work_invoice.as_deref())?;
        let work = |terms| read.present("work_terms", terms);
        let asked_by = |invoice| read.present("work_invoice", invoice);
        // Work that the pool pays alone has none.
        let paid_by = |work: &WorkTerms| if work.is_free() { Ok(None) } else { asked_by(invoice).map(Some) };
        Ok(match self.state.as_str() {
            "awaiting_eval_payment" => JobState::AwaitingEvalPayment,
            "evaluating" => JobState::Evaluating,
            "accepted" => JobState::Accepted { work: work(terms)? },
            "awaiting_work_payment" => {
                let work = work(terms)?;
                match HeldPaymentColumn::read(read, self.held_payment.as_deref())? {
                    None | Some(HeldPaymentColumn::Chosen) => JobState::AwaitingWorkPayment { work, invoice },
                    Some(HeldPaymentColumn::Held { until }) => {
                        let until = read.time("held_payment", until)?;
                        JobState::Held { work, invoice: asked_by(invoice)?, until }
                    }
                    Some(HeldPaymentColumn::Settling { price }) => {
                        let (text, usage, finish) = self.result(read)?;
                        let answer =
                            HeldAnswer { text, usage, estimated: self.usage_estimated, finish, price };
                        JobState::Settling { work, invoice: asked_by(invoice)?, answer }
                    }
                    Some(HeldPaymentColumn::Cancelling) => {
                        let message = read.present("error_message", self.error_message.clone())?;
                        JobState::Cancelling { work, invoice: asked_by(invoice)?, message }
                    }
                }
            }
            "executing" => {
                let work = work(terms)?;
                JobState::Executing { invoice: paid_by(&work)?, work }
            }
            "rejected" => JobState::Rejected {
                reason: read.present("rejection_reason", self.rejection_reason.clone())?,
            },
            "complete" => {
                let work = work(terms)?;
                JobState::Complete { invoice: paid_by(&work)?, work, completion: self.completion(read)? }
            }
            "failed" => JobState::Failed {
                message: read.present("error_message", self.error_message.clone())?,
                work: terms,
                invoice,
            },
            "expired" => JobState::Expired { work: terms, invoice },
            other => return Err(read.corrupt(format!("state is {other:?}"))),
        })
    }

    fn completion(&self, read: &Reader) -> Result<Completion, StoreError> {
        let settlement = read.present("settlement", self.settlement.as_deref())?;
        let (text, usage, finish) = self.result(read)?;
        Ok(Completion {
            text,
            usage,
            estimated: self.usage_estimated,
            finish,
            settlement: read.column("settlement", serde_json::from_str(settlement))?,
        })
    }

    /// The output, what it used, and why it ended.
    fn result(&self, read: &Reader) -> Result<(Arc<str>, Usage, FinishReason), StoreError> {
        let count = |column, value| read.present(column, value).and_then(|value| read.count(column, value));
        let text = read.present("result", self.result.as_deref())?.into();
        let usage = Usage {
            input_tokens: count("actual_input_tokens", self.actual_input_tokens)?,
            cached_input_tokens: count("actual_cached_input_tokens", self.actual_cached_input_tokens)?,
            output_tokens: count("actual_output_tokens", self.actual_output_tokens)?,
            ..read.usage_buckets(self.actual_buckets.as_deref())?
        };
        let finish = self
            .finish_reason
            .as_deref()
            .map_or(Ok(FinishReason::Stop), |name| read.column("finish_reason", name.parse()))?;
        Ok((text, usage, finish))
    }
}

impl Reader {
    /// An amount that must be whole sats.
    fn sats(&self, column: &str, msats: i64) -> Result<Sats, StoreError> {
        let amount = self.msats(column, msats)?;
        let sats = amount.to_sats_rounding_down();
        if sats.to_msats() == amount {
            return Ok(sats);
        }
        Err(self.corrupt(format!("{column} is {msats}, not whole sats")))
    }

    fn refund(&self, state: &str, msats: i64) -> Result<Refund, StoreError> {
        let amount = self.sats("refund_amount_msats", msats)?;
        match state {
            "not_applicable" => Ok(Refund::NotApplicable),
            "pending" => Ok(Refund::Pending { amount }),
            other => Err(self.corrupt(format!("refund_state is {other:?}"))),
        }
    }

    fn hash(&self, column: &str, hash: Option<&str>) -> Result<Option<PaymentHash>, StoreError> {
        self.column(column, hash.map(str::parse).transpose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::waiting_jobs::HELD;

    #[test]
    fn the_statements_know_how_a_choice_is_stored() {
        let chosen = json(&HeldPaymentColumn::Chosen).unwrap();
        assert!(HELD.ends_with(&format!("held_payment <> '{chosen}'")), "{chosen}");
    }
}
