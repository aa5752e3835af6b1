//! Reservations, grants, and the pool's counters.

use super::Reader;
use crate::schema::{free_tier_grants, free_tier_pool, free_tier_reservations};
use diesel::prelude::*;
use tithe_clock::Timestamp;
use tithe_engine::store::StoreError;
use tithe_free_tier::{
    Grant, GrantId, GrantLease, PoolCounters, Reservation, ReservationId, ReservationState,
};
use tithe_money::Msats;

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = free_tier_reservations)]
#[diesel(treat_none_as_null = true)]
pub struct ReservationRow {
    pub id: String,
    pub pubkey: String,
    pub amount_msats: i64,
    pub budget_msats: i64,
    pub used_after_msats: i64,
    pub state: String,
    pub lease_until: Option<i64>,
    pub absorbed_msats: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
}

impl From<&Reservation> for ReservationRow {
    fn from(reservation: &Reservation) -> Self {
        let lease_until = reservation.state.lease().ok().and_then(GrantLease::until);
        let absorbed = reservation.state.taken();
        Self {
            id: reservation.id.to_string(),
            pubkey: reservation.pubkey.to_string(),
            amount_msats: reservation.amount.to_i64(),
            budget_msats: reservation.budget.to_i64(),
            used_after_msats: reservation.used_after.to_i64(),
            state: reservation.state_name().to_owned(),
            lease_until: lease_until.map(Timestamp::unix_micros),
            absorbed_msats: absorbed.map(Msats::to_i64),
            created_at: reservation.created_at.unix_micros(),
            updated_at: reservation.updated_at.unix_micros(),
        }
    }
}

impl TryFrom<ReservationRow> for Reservation {
    type Error = StoreError;

    fn try_from(row: ReservationRow) -> Result<Self, StoreError> {
        let read = Reader::new("reservation", &row.id);
        let absorbed = row.absorbed_msats.map(|amount| read.msats("absorbed_msats", amount)).transpose()?;
        let until = row.lease_until.map(|until| read.time("lease_until", until)).transpose()?;
        let state = match row.state.as_str() {
            "offered" => ReservationState::Held { lease: GrantLease::Offer },
            "held" => ReservationState::Held { lease: until.map_or(GrantLease::Job, GrantLease::Until) },
            "settled" => ReservationState::Settled(read.present("absorbed_msats", absorbed)?),
            "released" => ReservationState::Released,
            "lapsed" => ReservationState::Expired { late: absorbed },
            other => return Err(read.corrupt(format!("state is {other:?}"))),
        };
        Ok(Self {
            id: ReservationId(read.column("id", row.id.parse())?),
            pubkey: read.pubkey("pubkey", &row.pubkey)?,
            amount: read.msats("amount_msats", row.amount_msats)?,
            budget: read.msats("budget_msats", row.budget_msats)?,
            used_after: read.msats("used_after_msats", row.used_after_msats)?,
            state,
            created_at: read.time("created_at", row.created_at)?,
            updated_at: read.time("updated_at", row.updated_at)?,
        })
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = free_tier_grants)]
pub struct GrantRow {
    pub id: String,
    pub pubkey: String,
    pub request_hash: String,
    pub absorbed_msats: i64,
    pub pool_balance_after_msats: i64,
    pub created_at: i64,
}

impl From<&Grant> for GrantRow {
    fn from(grant: &Grant) -> Self {
        Self {
            id: grant.id.to_string(),
            pubkey: grant.pubkey.to_string(),
            request_hash: grant.request_hash.to_string(),
            absorbed_msats: grant.absorbed.to_i64(),
            pool_balance_after_msats: grant.pool_balance_after.to_i64(),
            created_at: grant.created_at.unix_micros(),
        }
    }
}

impl TryFrom<GrantRow> for Grant {
    type Error = StoreError;

    fn try_from(row: GrantRow) -> Result<Self, StoreError> {
        let read = Reader::new("grant", &row.id);
        Ok(Self {
            id: GrantId(read.column("id", row.id.parse())?),
            pubkey: read.pubkey("pubkey", &row.pubkey)?,
            request_hash: read.column("request_hash", row.request_hash.parse())?,
            absorbed: read.msats("absorbed_msats", row.absorbed_msats)?,
            pool_balance_after: read.msats("pool_balance_after_msats", row.pool_balance_after_msats)?,
            created_at: read.time("created_at", row.created_at)?,
        })
    }
}

/// The key of the one row of its table.
pub const POOL_COUNTERS: &str = "pool";

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = free_tier_pool)]
pub struct PoolCountersRow {
    pub id: String,
    pub offered_msats: i64,
    pub day: i64,
    pub granted_msats: i64,
}

impl From<&PoolCounters> for PoolCountersRow {
    fn from(counters: &PoolCounters) -> Self {
        Self {
            id: POOL_COUNTERS.to_owned(),
            offered_msats: counters.offered.to_i64(),
            day: counters.day,
            granted_msats: counters.granted.to_i64(),
        }
    }
}

impl TryFrom<PoolCountersRow> for PoolCounters {
    type Error = StoreError;

    fn try_from(row: PoolCountersRow) -> Result<Self, StoreError> {
        let read = Reader::new("pool counters", &row.id);
        Ok(Self {
            offered: read.msats("offered_msats", row.offered_msats)?,
            day: row.day,
            granted: read.msats("granted_msats", row.granted_msats)?,
        })
    }
}
