//! Installs, the credits that are reserved of their quotas, and where new installs came from.

use super::{Reader, count_column};
use crate::schema::{credits, install_credits, install_origins};
use diesel::prelude::*;
use tithe_clock::Timestamp;
use tithe_engine::store::StoreError;
use tithe_ledger::credits::{
    Anchor, Counted, Counters, Credit, CreditId, CreditState, Install, InstallOrigin, Quota,
};

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = install_credits)]
#[diesel(primary_key(install_id))]
pub struct InstallRow {
    pub install_id: String,
    pub plan: String,
    pub anchor_day: i64,
    pub period_start: i64,
    pub lifetime_consumed: i64,
    pub lifetime_cloud_consumed: i64,
    pub lifetime_reserved: i64,
    pub lifetime_cloud_reserved: i64,
    pub monthly_consumed: i64,
    pub monthly_cloud_consumed: i64,
    pub monthly_reserved: i64,
    pub monthly_cloud_reserved: i64,
    pub last_active_at: i64,
    pub created_at: i64,
}

impl From<&Install> for InstallRow {
    fn from(install: &Install) -> Self {
        let Install { lifetime, monthly, .. } = install;
        Self {
            install_id: install.id.to_string(),
            plan: install.plan.as_str().to_owned(),
            anchor_day: install.anchor_day.into(),
            period_start: install.period_start.unix_micros(),
            lifetime_consumed: count_column(lifetime.consumed),
            lifetime_cloud_consumed: count_column(lifetime.cloud_consumed),
            lifetime_reserved: count_column(lifetime.reserved),
            lifetime_cloud_reserved: count_column(lifetime.cloud_reserved),
            monthly_consumed: count_column(monthly.consumed),
            monthly_cloud_consumed: count_column(monthly.cloud_consumed),
            monthly_reserved: count_column(monthly.reserved),
            monthly_cloud_reserved: count_column(monthly.cloud_reserved),
            last_active_at: install.last_active_at.unix_micros(),
            created_at: install.created_at.unix_micros(),
        }
    }
}

impl TryFrom<InstallRow> for Install {
    type Error = StoreError;

    fn try_from(row: InstallRow) -> Result<Self, StoreError> {
        let read = Reader::new("install", &row.install_id);
        let period_start = read.time("period_start", row.period_start)?;
        let day = read.count("anchor_day", row.anchor_day)?;
        let anchor = read.column("anchor_day", Anchor::on_day(day, period_start))?;
        Ok(Self {
            id: read.column("install_id", row.install_id.parse())?,
            plan: read.column("plan", row.plan.parse())?,
            anchor_day: anchor.day(),
            period_start,
            lifetime: Counters {
                consumed: read.count("lifetime_consumed", row.lifetime_consumed)?,
                cloud_consumed: read.count("lifetime_cloud_consumed", row.lifetime_cloud_consumed)?,
                reserved: read.count("lifetime_reserved", row.lifetime_reserved)?,
                cloud_reserved: read.count("lifetime_cloud_reserved", row.lifetime_cloud_reserved)?,
            },
            monthly: Counters {
                consumed: read.count("monthly_consumed", row.monthly_consumed)?,
                cloud_consumed: read.count("monthly_cloud_consumed", row.monthly_cloud_consumed)?,
                reserved: read.count("monthly_reserved", row.monthly_reserved)?,
                cloud_reserved: read.count("monthly_cloud_reserved", row.monthly_cloud_reserved)?,
            },
            last_active_at: read.time("last_active_at", row.last_active_at)?,
            created_at: read.time("created_at", row.created_at)?,
        })
    }
}

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = credits)]
#[diesel(treat_none_as_null = true)]
pub struct CreditRow {
    pub id: String,
    pub install_id: String,
    pub plan: String,
    pub backend: String,
    pub counted: String,
    pub quota_requests: Option<i64>,
    pub quota_cloud: Option<i64>,
    pub period_start: i64,
    pub used_after: i64,
    pub cloud_used_after: i64,
    pub state: String,
    pub lease_until: Option<i64>,
    pub late: bool,
    pub created_at: i64,
    pub updated_at: i64,
}

impl From<&Credit> for CreditRow {
    fn from(credit: &Credit) -> Self {
        let (lease_until, late) = match credit.state {
            CreditState::Held { lease } => (Some(lease), false),
            CreditState::Settled(()) | CreditState::Released => (None, false),
            CreditState::Expired { late } => (None, late.is_some()),
        };
        Self {
            id: credit.id.to_string(),
            install_id: credit.install.to_string(),
            plan: credit.plan.as_str().to_owned(),
            backend: credit.backend.as_str().to_owned(),
            counted: credit.quota.counted.as_str().to_owned(),
            quota_requests: credit.quota.requests.map(count_column),
            quota_cloud: credit.quota.cloud.map(count_column),
            period_start: credit.period_start.unix_micros(),
            used_after: count_column(credit.used_after),
            cloud_used_after: count_column(credit.cloud_used_after),
            state: credit.state.as_str().to_owned(),
            lease_until: lease_until.map(Timestamp::unix_micros),
            late,
            created_at: credit.created_at.unix_micros(),
            updated_at: credit.updated_at.unix_micros(),
        }
    }
}

impl TryFrom<CreditRow> for Credit {
    type Error = StoreError;

    fn try_from(row: CreditRow) -> Result<Self, StoreError> {
        let read = Reader::new("credit", &row.id);
        let state = match row.state.as_str() {
            "held" => {
                let until = read.present("lease_until", row.lease_until)?;
                CreditState::Held { lease: read.time("lease_until", until)? }
            }
            "settled" => CreditState::Settled(()),
            "released" => CreditState::Released,
            "expired" => CreditState::Expired { late: row.late.then_some(()) },
            other => return Err(read.corrupt(format!("state is {other:?}"))),
        };
        let counted = [Counted::Lifetime, Counted::Monthly].into_iter().find(|it| it.as_str() == row.counted);
        let most = |column, value: Option<i64>| value.map(|value| read.count(column, value)).transpose();
        Ok(Self {
            id: CreditId(read.column("id", row.id.parse())?),
            install: read.column("install_id", row.install_id.parse())?,
            plan: read.column("plan", row.plan.parse())?,
            backend: read.column("backend", row.backend.parse())?,
            quota: Quota {
                counted: counted.ok_or_else(|| read.corrupt(format!("counted is {:?}", row.counted)))?,
                requests: most("quota_requests", row.quota_requests)?,
                cloud: most("quota_cloud", row.quota_cloud)?,
            },
            period_start: read.time("period_start", row.period_start)?,
            used_after: read.count("used_after", row.used_after)?,
            cloud_used_after: read.count("cloud_used_after", row.cloud_used_after)?,
            state,
            created_at: read.time("created_at", row.created_at)?,
            updated_at: read.time("updated_at", row.updated_at)?,
        })
    }
}

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = install_origins)]
#[diesel(primary_key(name))]
pub struct InstallOriginRow {
    pub name: String,
    pub since: i64,
    pub installs: i64,
}

impl From<&InstallOrigin> for InstallOriginRow {
    fn from(origin: &InstallOrigin) -> Self {
        Self {
            name: origin.name.clone(),
            since: origin.since.unix_micros(),
            installs: count_column(origin.installs),
        }
    }
}

impl TryFrom<InstallOriginRow> for InstallOrigin {
    type Error = StoreError;

    fn try_from(row: InstallOriginRow) -> Result<Self, StoreError> {
        let read = Reader::new("install origin", &row.name);
        Ok(Self {
            since: read.time("since", row.since)?,
            installs: read.count("installs", row.installs)?,
            name: row.name,
        })
    }
}
