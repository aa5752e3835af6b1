//! Nodes that are bought.

use super::{Reader, count_column};
use crate::schema::bootstrap_jobs;
use diesel::prelude::*;
use tithe_bootstrap::{Bootstrap, BootstrapId, BootstrapState, Claim};
use tithe_clock::Timestamp;
use tithe_engine::store::StoreError;

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = bootstrap_jobs)]
#[diesel(treat_none_as_null = true)]
pub struct BootstrapRow {
    pub id: String,
    pub nostr_pubkey: Option<String>,
    pub plan: String,
    pub amount_msats: i64,
    pub ssh_public_key: Option<String>,
    pub state: String,
    pub invoice: Option<String>,
    pub paid_at: Option<i64>,
    pub begun_at: Option<i64>,
    pub host: Option<String>,
    pub sealed: Option<String>,
    pub delivered_at: Option<i64>,
    pub error_message: Option<String>,
    pub refund_amount_msats: i64,
    pub rounding_msats: i64,
    pub claim_owner: Option<String>,
    pub claims: i64,
    pub claimable_at: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

impl From<&Bootstrap> for BootstrapRow {
    fn from(bootstrap: &Bootstrap) -> Self {
        let mut row = Self {
            id: bootstrap.id.to_string(),
            nostr_pubkey: bootstrap.identity.map(|pubkey| pubkey.to_string()),
            plan: bootstrap.plan.clone(),
            amount_msats: bootstrap.amount.to_msats().to_i64(),
            ssh_public_key: bootstrap.ssh_public_key.as_ref().map(ToString::to_string),
            state: bootstrap.state_name().as_str().to_owned(),
            invoice: bootstrap.invoice.map(|hash| hash.to_string()),
            paid_at: None,
            begun_at: None,
            host: None,
            sealed: bootstrap.sealed.clone(),
            delivered_at: None,
            error_message: None,
            refund_amount_msats: bootstrap.refund.to_msats().to_i64(),
            rounding_msats: bootstrap.rounding.to_i64(),
            claim_owner: bootstrap.claim.map(|claim| claim.owner.to_string()),
            claims: count_column(bootstrap.claims.into()),
            claimable_at: bootstrap.claimable_at.unix_micros(),
            created_at: bootstrap.created_at.unix_micros(),
            updated_at: bootstrap.updated_at.unix_micros(),
        };
        match &bootstrap.state {
            BootstrapState::AwaitingPayment | BootstrapState::Expired => {}
            BootstrapState::Provisioning { paid_at, begun_at } => {
                row.paid_at = Some(paid_at.unix_micros());
                row.begun_at = begun_at.map(Timestamp::unix_micros);
            }
            BootstrapState::Ready { host, delivered_at } => {
                row.host = Some(host.clone());
                row.delivered_at = delivered_at.map(Timestamp::unix_micros);
            }
            BootstrapState::Failed { message, begun_at } => {
                row.error_message = Some(message.clone());
                row.begun_at = begun_at.map(Timestamp::unix_micros);
            }
        }
        row
    }
}

impl TryFrom<BootstrapRow> for Bootstrap {
    type Error = StoreError;

    fn try_from(row: BootstrapRow) -> Result<Self, StoreError> {
        let read = Reader::new("bootstrap", &row.id);
        let time = |column: &str, value: Option<i64>| value.map(|value| read.time(column, value)).transpose();
        let begun_at = time("begun_at", row.begun_at)?;
        let state = match row.state.as_str() {
            "awaiting_payment" => BootstrapState::AwaitingPayment,
            "provisioning" => {
                let paid_at = read.present("paid_at", time("paid_at", row.paid_at)?)?;
                BootstrapState::Provisioning { paid_at, begun_at }
            }
            "ready" => BootstrapState::Ready {
                host: read.present("host", row.host)?,
                delivered_at: time("delivered_at", row.delivered_at)?,
            },
            "failed" => BootstrapState::Failed {
                message: read.present("error_message", row.error_message)?,
                begun_at,
            },
            "expired" => BootstrapState::Expired,
            other => return Err(read.corrupt(format!("state is {other:?}"))),
        };
        let number = read.column("claims", u32::try_from(row.claims))?;
        let owner = read.column("claim_owner", row.claim_owner.map(|owner| owner.parse()).transpose())?;
        let key = row.ssh_public_key.map(|key| key.parse()).transpose();
        Ok(Self {
            id: BootstrapId(read.column("id", row.id.parse())?),
            plan: row.plan,
            amount: read.msats("amount_msats", row.amount_msats)?.to_sats_rounding_down(),
            ssh_public_key: read.column("ssh_public_key", key)?,
            sealed: row.sealed,
            identity: row.nostr_pubkey.map(|pubkey| read.pubkey("nostr_pubkey", &pubkey)).transpose()?,
            invoice: read.column("invoice", row.invoice.map(|hash| hash.parse()).transpose())?,
            state,
            claim: owner.map(|owner| Claim { owner, number }),
            claims: number,
            claimable_at: read.time("claimable_at", row.claimable_at)?,
            refund: read.msats("refund_amount_msats", row.refund_amount_msats)?.to_sats_rounding_down(),
            rounding: read.msats("rounding_msats", row.rounding_msats)?,
            created_at: read.time("created_at", row.created_at)?,
            updated_at: read.time("updated_at", row.updated_at)?,
        })
    }
}
