//! Invoices.

use super::Reader;
use crate::schema::invoices;
use diesel::prelude::*;
use tithe_engine::store::StoreError;
use tithe_lightning::{Invoice, InvoiceState, OwnerId};

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = invoices)]
#[diesel(treat_none_as_null = true)]
pub struct InvoiceRow {
    pub payment_hash: String,
    pub purpose: String,
    pub owner: String,
    pub bolt11: String,
    pub amount_msats: i64,
    pub state: String,
    pub received_msats: Option<i64>,
    pub paid_at: Option<i64>,
    pub preimage: Option<String>,
    pub created_at: i64,
    pub expires_at: i64,
}

impl From<&Invoice> for InvoiceRow {
    fn from(invoice: &Invoice) -> Self {
        let (received_msats, paid_at, preimage) = match &invoice.state {
            InvoiceState::Paid { received, paid_at, preimage } => (
                Some(received.to_i64()),
                Some(paid_at.unix_micros()),
                preimage.map(|preimage| preimage.reveal()),
            ),
            InvoiceState::Pending | InvoiceState::Expired => (None, None, None),
        };
        Self {
            payment_hash: invoice.payment_hash.to_string(),
            purpose: invoice.purpose.as_str().to_owned(),
            owner: invoice.owner.to_string(),
            bolt11: invoice.payment_request.clone(),
            amount_msats: invoice.amount.to_i64(),
            state: invoice.state.as_str().to_owned(),
            received_msats,
            paid_at,
            preimage,
            created_at: invoice.created_at.unix_micros(),
            expires_at: invoice.expires_at.unix_micros(),
        }
    }
}

impl TryFrom<InvoiceRow> for Invoice {
    type Error = StoreError;

    fn try_from(row: InvoiceRow) -> Result<Self, StoreError> {
        let read = Reader::new("invoice", &row.payment_hash);
        let state = match row.state.as_str() {
            "pending" => InvoiceState::Pending,
            "expired" => InvoiceState::Expired,
            "paid" => {
                let received = read.present("received_msats", row.received_msats)?;
                let paid_at = read.present("paid_at", row.paid_at)?;
                let preimage = row.preimage.map(|preimage| preimage.parse()).transpose();
                InvoiceState::Paid {
                    received: read.msats("received_msats", received)?,
                    paid_at: read.time("paid_at", paid_at)?,
                    preimage: read.column("preimage", preimage)?,
                }
            }
            other => return Err(read.corrupt(format!("state is {other:?}"))),
        };
        Ok(Self {
            payment_hash: read.column("payment_hash", row.payment_hash.parse())?,
            purpose: read.column("purpose", row.purpose.parse())?,
            owner: OwnerId(read.column("owner", row.owner.parse())?),
            amount: read.msats("amount_msats", row.amount_msats)?,
            state,
            created_at: read.time("created_at", row.created_at)?,
            expires_at: read.time("expires_at", row.expires_at)?,
            payment_request: row.bolt11,
        })
    }
}
