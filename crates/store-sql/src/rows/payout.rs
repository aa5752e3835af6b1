//! What is owed to customers, and payments to them.

use super::{Reader, count_column};
use crate::schema::{obligations, payouts};
use diesel::prelude::*;
use tithe_engine::store::StoreError;
use tithe_lightning::PaymentId;
use tithe_payouts::{Obligation, Payout, PayoutState};

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = obligations)]
#[diesel(treat_none_as_null = true)]
pub struct ObligationRow {
    pub account: String,
    pub accrued_msats: i64,
    pub due_msats: i64,
    pub destination: Option<String>,
    pub in_flight: Option<String>,
    pub last_paid: Option<String>,
    pub failures: i64,
    pub next_try_at: i64,
    pub problem: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
}

impl From<&Obligation> for ObligationRow {
    fn from(owed: &Obligation) -> Self {
        Self {
            account: owed.account.to_string(),
            accrued_msats: owed.accrued.to_msats().to_i64(),
            due_msats: owed.due.to_msats().to_i64(),
            destination: owed.destination.as_ref().map(ToString::to_string),
            in_flight: owed.in_flight.map(|hash| hash.to_string()),
            last_paid: owed.last_paid.map(|hash| hash.to_string()),
            failures: count_column(owed.failures.into()),
            next_try_at: owed.next_try_at.unix_micros(),
            problem: owed.problem.clone(),
            created_at: owed.created_at.unix_micros(),
            updated_at: owed.updated_at.unix_micros(),
        }
    }
}

impl TryFrom<ObligationRow> for Obligation {
    type Error = StoreError;

    fn try_from(row: ObligationRow) -> Result<Self, StoreError> {
        let read = Reader::new("obligation", &row.account);
        let hash = |column: &str, value: Option<String>| {
            read.column(column, value.map(|hash| hash.parse()).transpose())
        };
        let destination = row.destination.map(|text| text.parse()).transpose();
        Ok(Self {
            account: read.column("account", row.account.parse())?,
            accrued: read.msats("accrued_msats", row.accrued_msats)?.to_sats_rounding_down(),
            due: read.msats("due_msats", row.due_msats)?.to_sats_rounding_down(),
            destination: read.column("destination", destination)?,
            in_flight: hash("in_flight", row.in_flight)?,
            last_paid: hash("last_paid", row.last_paid)?,
            failures: read.column("failures", u32::try_from(row.failures))?,
            next_try_at: read.time("next_try_at", row.next_try_at)?,
            problem: row.problem,
            created_at: read.time("created_at", row.created_at)?,
            updated_at: read.time("updated_at", row.updated_at)?,
        })
    }
}

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = payouts)]
#[diesel(treat_none_as_null = true)]
pub struct PayoutRow {
    pub payment_hash: String,
    pub id: String,
    pub account: String,
    pub bolt11: String,
    pub amount_msats: i64,
    pub fee_limit_msats: i64,
    pub state: String,
    pub paying_since: Option<i64>,
    pub preimage: Option<String>,
    pub fee_msats: Option<i64>,
    pub error_message: Option<String>,
    pub attempts: i64,
    pub looks: i64,
    pub next_look_at: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

impl From<&Payout> for PayoutRow {
    fn from(payout: &Payout) -> Self {
        let mut row = Self {
            payment_hash: payout.payment_hash.to_string(),
            id: payout.id.0.to_string(),
            account: payout.account.to_string(),
            bolt11: payout.payment_request.clone(),
            amount_msats: payout.amount.to_msats().to_i64(),
            fee_limit_msats: payout.fee_limit.to_msats().to_i64(),
            state: payout.state.as_str().to_owned(),
            paying_since: None,
            preimage: None,
            fee_msats: None,
            error_message: None,
            attempts: count_column(payout.attempts.into()),
            looks: count_column(payout.looks.into()),
            next_look_at: payout.next_look_at.unix_micros(),
            created_at: payout.created_at.unix_micros(),
            updated_at: payout.updated_at.unix_micros(),
        };
        match &payout.state {
            PayoutState::Paying { since } => row.paying_since = Some(since.unix_micros()),
            PayoutState::Paid { preimage, fee } => {
                row.preimage = Some(preimage.reveal());
                row.fee_msats = Some(fee.to_i64());
            }
            PayoutState::Failed { reason } => row.error_message = Some(reason.clone()),
        }
        row
    }
}

impl TryFrom<PayoutRow> for Payout {
    type Error = StoreError;

    fn try_from(row: PayoutRow) -> Result<Self, StoreError> {
        let read = Reader::new("payout", &row.payment_hash);
        let state = match row.state.as_str() {
            "paying" => PayoutState::Paying {
                since: read.time("paying_since", read.present("paying_since", row.paying_since)?)?,
            },
            "paid" => PayoutState::Paid {
                preimage: read.column("preimage", read.present("preimage", row.preimage)?.parse())?,
                fee: read.msats("fee_msats", read.present("fee_msats", row.fee_msats)?)?,
            },
            "failed" => PayoutState::Failed { reason: read.present("error_message", row.error_message)? },
            other => return Err(read.corrupt(format!("state is {other:?}"))),
        };
        Ok(Self {
            payment_hash: read.column("payment_hash", row.payment_hash.parse())?,
            id: PaymentId(read.column("id", row.id.parse())?),
            account: read.column("account", row.account.parse())?,
            payment_request: row.bolt11,
            amount: read.msats("amount_msats", row.amount_msats)?.to_sats_rounding_down(),
            fee_limit: read.msats("fee_limit_msats", row.fee_limit_msats)?.to_sats_rounding_down(),
            state,
            attempts: read.column("attempts", u32::try_from(row.attempts))?,
            looks: read.column("looks", u32::try_from(row.looks))?,
            next_look_at: read.time("next_look_at", row.next_look_at)?,
            created_at: read.time("created_at", row.created_at)?,
            updated_at: read.time("updated_at", row.updated_at)?,
        })
    }
}
