//! The pool.

use serde::Serialize;
use tithe_engine::PoolStatus;
use tithe_free_tier::Budgets;
use tithe_money::MoneyError;
use utoipa::ToSchema;

/// What an identity of each tier may take from the pool in a day, in sats.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DailyBudgetsBody {
    /// One that has earned no trust yet.
    new: u64,
    /// An established one.
    established: u64,
    /// A trusted one.
    trusted: u64,
    /// One of the elite.
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

/// How the pool stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PoolBody {
    /// All that is in it, in sats, rounded down.
    balance_sats: u64,
    /// The same, exactly.
    balance_msats: u64,
    /// What of that is reserved for work that is not done yet, in sats, rounded up.
    reserved_sats: u64,
    /// The same, exactly.
    reserved_msats: u64,
    /// What it has paid since midnight, UTC, in sats, rounded up.
    granted_today_sats: u64,
    /// The same, exactly.
    granted_today_msats: u64,
    /// What each tier may take in a day.
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

/// The pool, as an estimate shows it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PoolSummaryBody {
    /// All that is in it, in sats, rounded down.
    balance_sats: u64,
    /// What each tier may take in a day.
    daily_budgets: DailyBudgetsBody,
}

impl From<&PoolStatus> for PoolSummaryBody {
    fn from(pool: &PoolStatus) -> Self {
        Self { balance_sats: pool.balance.to_sats_rounding_down().get(), daily_budgets: pool.budgets.into() }
    }
}
