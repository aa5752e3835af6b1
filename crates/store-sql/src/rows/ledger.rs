//! Accounts, transfers, holds.

use super::Reader;
use crate::schema::{accounts, holds, transfers};
use diesel::prelude::*;
use tithe_engine::store::{NumberedTransfer, StoreError};
use tithe_ledger::{Account, Hold, HoldId, HoldState, Transfer, TransferKey};

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = accounts)]
pub struct AccountRow {
    pub id: String,
    pub balance_msats: i64,
    pub held_msats: i64,
}

impl From<&Account> for AccountRow {
    fn from(account: &Account) -> Self {
        Self {
            id: account.id().to_string(),
            balance_msats: account.balance().to_i64(),
            held_msats: account.held().to_i64(),
        }
    }
}

impl TryFrom<AccountRow> for Account {
    type Error = StoreError;

    fn try_from(row: AccountRow) -> Result<Self, StoreError> {
        let read = Reader::new("account", &row.id);
        let id = read.column("id", row.id.parse())?;
        let balance = read.msats("balance_msats", row.balance_msats)?;
        let held = read.msats("held_msats", row.held_msats)?;
        read.column("id", Self::restore(id, balance, held))
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = transfers)]
pub struct TransferRow {
    pub seq: i64,
    pub key: String,
    pub debit: String,
    pub credit: String,
    pub amount_msats: i64,
    pub kind: String,
    pub reference: String,
    pub created_at: i64,
}

#[derive(Insertable)]
#[diesel(table_name = transfers)]
pub struct NewTransferRow<'a> {
    pub key: &'a str,
    pub debit: String,
    pub credit: String,
    pub amount_msats: i64,
    pub kind: &'a str,
    pub reference: String,
    pub created_at: i64,
}

impl<'a> From<&'a Transfer> for NewTransferRow<'a> {
    fn from(transfer: &'a Transfer) -> Self {
        Self {
            key: transfer.key.as_str(),
            debit: transfer.debit.to_string(),
            credit: transfer.credit.to_string(),
            amount_msats: transfer.amount.to_i64(),
            kind: transfer.kind.as_str(),
            reference: transfer.reference.to_string(),
            created_at: transfer.created_at.unix_micros(),
        }
    }
}

impl TransferRow {
    /// The transfer with its number.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`].
    pub fn numbered(self) -> Result<NumberedTransfer, StoreError> {
        let number = Reader::new("transfer", &self.key).count("seq", self.seq)?;
        Ok(NumberedTransfer { number, transfer: self.try_into()? })
    }
}

impl TryFrom<TransferRow> for Transfer {
    type Error = StoreError;

    fn try_from(row: TransferRow) -> Result<Self, StoreError> {
        let read = Reader::new("transfer", &row.key);
        Ok(Self {
            debit: read.column("debit", row.debit.parse())?,
            credit: read.column("credit", row.credit.parse())?,
            amount: read.msats("amount_msats", row.amount_msats)?,
            kind: read.column("kind", row.kind.parse())?,
            reference: read.column("reference", row.reference.parse())?,
            created_at: read.time("created_at", row.created_at)?,
            key: TransferKey::new(row.key),
        })
    }
}

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = holds)]
#[diesel(treat_none_as_null = true)]
pub struct HoldRow {
    pub id: String,
    pub account: String,
    pub amount_msats: i64,
    pub state: String,
    pub lease_until: Option<i64>,
    pub charged_msats: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
}

impl From<&Hold> for HoldRow {
    fn from(hold: &Hold) -> Self {
        let (lease_until, charged) = (hold.state.lease().ok(), hold.state.taken());
        Self {
            id: hold.id.to_string(),
            account: hold.account.to_string(),
            amount_msats: hold.amount.to_i64(),
            state: hold.state.as_str().to_owned(),
            lease_until: lease_until.map(tithe_clock::Timestamp::unix_micros),
            charged_msats: charged.map(tithe_money::Msats::to_i64),
            created_at: hold.created_at.unix_micros(),
            updated_at: hold.updated_at.unix_micros(),
        }
    }
}

impl TryFrom<HoldRow> for Hold {
    type Error = StoreError;

    fn try_from(row: HoldRow) -> Result<Self, StoreError> {
        let read = Reader::new("hold", &row.id);
        let charged = row.charged_msats.map(|amount| read.msats("charged_msats", amount)).transpose()?;
        let state = match row.state.as_str() {
            "held" => {
                let until = read.present("lease_until", row.lease_until)?;
                HoldState::Held { lease: read.time("lease_until", until)? }
            }
            "settled" => HoldState::Settled(read.present("charged_msats", charged)?),
            "released" => HoldState::Released,
            "expired" => HoldState::Expired { late: charged },
            other => return Err(read.corrupt(format!("state is {other:?}"))),
        };
        Ok(Self {
            id: HoldId(read.column("id", row.id.parse())?),
            account: read.column("account", row.account.parse())?,
            amount: read.msats("amount_msats", row.amount_msats)?,
            state,
            created_at: read.time("created_at", row.created_at)?,
            updated_at: read.time("updated_at", row.updated_at)?,
        })
    }
}
