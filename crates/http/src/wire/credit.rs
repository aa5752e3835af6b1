//! The bodies of install credits.

use super::vocabulary::{CappedName, InstallPlanName};
use serde::Serialize;
use tithe_clock::Timestamp;
use tithe_engine::credits::InstallBalance;
use tithe_ledger::credits::{Balance, Counted, Install, Plans, Quota};
use utoipa::ToSchema;

/// What an install has left.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({ "plan": "core", "remaining": 49, "cloudRemaining": null, "renewsAt": null }))]
pub(crate) struct CreditsBody {
    /// The plan that the request has proven.
    #[schema(value_type = InstallPlanName)]
    plan: &'static str,
    /// The number of requests that are left; null means any number.
    #[schema(required = true)]
    remaining: Option<u64>,
    /// How many of them may run in the cloud; null means any number of them.
    #[schema(required = true)]
    cloud_remaining: Option<u64>,
    /// The time at which the plan is renewed; null if it never is.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    renews_at: Option<Timestamp>,
}

impl From<&Balance> for CreditsBody {
    fn from(balance: &Balance) -> Self {
        Self {
            plan: balance.plan.as_str(),
            remaining: balance.remaining,
            cloud_remaining: balance.cloud_remaining,
            renews_at: balance.renews_at,
        }
    }
}

/// An install, and what its plan includes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "installId": "0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10", "plan": "core", "capped": "lifetime", "remaining": 49,
    "cloudRemaining": null, "periodStart": "2027-01-31T12:00:00Z", "renewsAt": null, "lifetimeConsumed": 1, "monthlyConsumed": 0
}))]
pub(crate) struct InstallCreditsBody {
    /// The id of the install.
    #[schema(format = "uuid")]
    install_id: String,
    /// The plan that the request has proven: `core` without a licence.
    #[schema(value_type = InstallPlanName)]
    plan: &'static str,
    /// Over what time the plan counts requests.
    #[schema(value_type = CappedName)]
    capped: &'static str,
    /// The number of requests that are left; null means any number. Running requests count as used.
    #[schema(required = true)]
    remaining: Option<u64>,
    /// How many of them may run in the cloud; null means any number of them.
    #[schema(required = true)]
    cloud_remaining: Option<u64>,
    /// The time at which the current period began.
    #[schema(value_type = String, format = DateTime)]
    period_start: Timestamp,
    /// The time at which the plan is renewed; null if it never is.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    renews_at: Option<Timestamp>,
    /// The number of requests that were done under plans that are never renewed.
    lifetime_consumed: u64,
    /// The number of requests that were done under monthly plans since the period began.
    monthly_consumed: u64,
}

impl From<&InstallBalance> for InstallCreditsBody {
    fn from(InstallBalance { install, balance }: &InstallBalance) -> Self {
        Self {
            install_id: install.id.to_string(),
            plan: balance.plan.as_str(),
            capped: capped(&balance.quota),
            remaining: balance.remaining,
            cloud_remaining: balance.cloud_remaining,
            period_start: balance.period_start,
            renews_at: balance.renews_at,
            lifetime_consumed: install.lifetime.consumed,
            monthly_consumed: install.monthly.consumed,
        }
    }
}

/// An install, for the operator.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "installId": "0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10", "plan": "pro", "capped": "monthly", "remaining": 988,
    "cloudRemaining": null, "periodStart": "2027-01-31T12:00:00Z", "renewsAt": "2027-02-28T12:00:00Z",
    "lifetimeConsumed": 3, "lifetimeCloudConsumed": 3, "monthlyConsumed": 11, "monthlyCloudConsumed": 11, "reserved": 1,
    "lastActiveAt": "2027-02-01T08:30:00Z", "createdAt": "2027-01-02T03:04:05Z"
}))]
pub(crate) struct InstallBody {
    /// The id of the install.
    #[schema(format = "uuid")]
    install_id: String,
    /// The last paid plan that the install has proven; `core` before the first.
    #[schema(value_type = InstallPlanName)]
    plan: &'static str,
    /// Over what time the plan counts requests.
    #[schema(value_type = CappedName)]
    capped: &'static str,
    /// The number of requests that are left under the plan; null means any number. Running requests count as used.
    #[schema(required = true)]
    remaining: Option<u64>,
    /// How many of them may run in the cloud; null means any number of them.
    #[schema(required = true)]
    cloud_remaining: Option<u64>,
    /// The time at which the current period began.
    #[schema(value_type = String, format = DateTime)]
    period_start: Timestamp,
    /// The time at which the plan is renewed; null if it never is.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    renews_at: Option<Timestamp>,
    /// The number of requests that were done under plans that are never renewed.
    lifetime_consumed: u64,
    /// Those of them that the cloud did.
    lifetime_cloud_consumed: u64,
    /// The number of requests that were done under monthly plans since the period began.
    monthly_consumed: u64,
    /// Those of them that the cloud did.
    monthly_cloud_consumed: u64,
    /// The number of requests that are running.
    reserved: u64,
    /// The time at which the install last used a credit.
    #[schema(value_type = String, format = DateTime)]
    last_active_at: Timestamp,
    /// The time at which the install was first seen.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl InstallBody {
    /// An install as it is now, under the plan that it has last proven.
    pub(crate) fn new(install: &Install, plans: &Plans, now: Timestamp) -> Self {
        let quota = plans.quota(install.plan);
        let balance = install.balance(install.plan, quota, now);
        let install = install.under(install.plan, now);
        let reserved = install.running();
        let Install { id, plan, lifetime, monthly, last_active_at, created_at, .. } = install;
        Self {
            install_id: id.to_string(),
            plan: plan.as_str(),
            capped: capped(quota),
            remaining: balance.remaining,
            cloud_remaining: balance.cloud_remaining,
            period_start: balance.period_start,
            renews_at: balance.renews_at,
            lifetime_consumed: lifetime.consumed,
            lifetime_cloud_consumed: lifetime.cloud_consumed,
            monthly_consumed: monthly.consumed,
            monthly_cloud_consumed: monthly.cloud_consumed,
            reserved,
            last_active_at,
            created_at,
        }
    }
}

/// A page of installs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InstallListBody {
    /// The installs, in the order of their ids.
    pub(crate) installs: Vec<InstallBody>,
    /// The `after` of the next page; null on the last page.
    #[schema(required = true, format = "uuid")]
    pub(crate) next: Option<String>,
}

/// The name of the time over which a plan limits requests.
fn capped(quota: &Quota) -> &'static str {
    quota.capped().map_or("none", Counted::as_str)
}
