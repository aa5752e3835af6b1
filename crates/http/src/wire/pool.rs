//! The bodies of the pool.

use serde::Serialize;
use tithe_engine::pool::PoolStatus;
use tithe_free_tier::Budgets;
use tithe_money::MoneyError;
use utoipa::ToSchema;

/// The daily budget of an identity by tier, in sats: the maximum that the pool pays for its work.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DailyBudgetsBody {
    /// The budget of a `new` identity, which has not earned any trust yet.
    new: u64,
    /// The budget of an `established` identity.
    established: u64,
    /// The budget of a `trusted` identity.
    trusted: u64,
    /// The budget of an `elite` identity.
    elite: u64,
}

impl From<Budgets> for DailyBudgetsBody {
    fn from(budgets: Budgets) -> Self {
        Self {
            new: budgets.new.get(),
            established: budgets.established.get(),
            trusted: budgets.trusted.get(),
            elite: budgets.elite.get(),
        }
    }
}

/// The state of the pool.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PoolBody {
    /// The balance, in sats, rounded down. It includes reserved amounts.
    balance_sats: u64,
    /// The balance, in msats.
    balance_msats: u64,
    /// The part of the balance that is reserved for unfinished work, in sats, rounded up.
    reserved_sats: u64,
    /// The part of the balance that is reserved for unfinished work, in msats.
    reserved_msats: u64,
    /// The amount that the pool has paid since midnight UTC, in sats, rounded up.
    granted_today_sats: u64,
    /// The amount that the pool has paid since midnight UTC, in msats.
    granted_today_msats: u64,
    /// The daily budgets by tier.
    daily_budgets: DailyBudgetsBody,
}

impl TryFrom<&PoolStatus> for PoolBody {
    type Error = MoneyError;

    fn try_from(pool: &PoolStatus) -> Result<Self, MoneyError> {
        Ok(Self {
            balance_sats: pool.balance.to_sats_rounding_down().get(),
            balance_msats: pool.balance.get(),
            reserved_sats: pool.reserved.to_sats_rounding_up()?.get(),
            reserved_msats: pool.reserved.get(),
            granted_today_sats: pool.granted_today.to_sats_rounding_up()?.get(),
            granted_today_msats: pool.granted_today.get(),
            daily_budgets: pool.budgets.into(),
        })
    }
}

/// The state of the pool in an estimate.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PoolSummaryBody {
    /// The balance, in sats, rounded down. It includes reserved amounts.
    balance_sats: u64,
    /// The daily budgets by tier.
    daily_budgets: DailyBudgetsBody,
}

impl From<&PoolStatus> for PoolSummaryBody {
    fn from(pool: &PoolStatus) -> Self {
        Self { balance_sats: pool.balance.to_sats_rounding_down().get(), daily_budgets: pool.budgets.into() }
    }
}
