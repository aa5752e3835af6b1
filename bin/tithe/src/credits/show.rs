//! What one install has used, and what it has left.

use serde_json::{Value, json};
use tithe_clock::Timestamp;
use tithe_ledger::credits::{Balance, Counted, Counters, Install, Plans};

/// An install as it is now, under the plan that it has last proven: as the admin API shows it.
pub(crate) struct Shown {
    install: Install,
    balance: Balance,
}

impl Shown {
    /// The install of a stored row, which may be from an earlier period.
    pub(crate) fn new(stored: &Install, plans: &Plans, now: Timestamp) -> Self {
        let plan = stored.plan;
        Self { install: stored.under(plan, now), balance: stored.balance(plan, plans.quota(plan), now) }
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let Self { install, balance } = self;
        let left = |left: Option<u64>, quota: Option<u64>| match (left, quota) {
            (Some(left), Some(quota)) => format!("{left} of {quota}"),
            (Some(left), None) => left.to_string(),
            (None, _) => "any number".to_owned(),
        };
        let used = |counters: &Counters| {
            format!("{} ({} of them in the cloud)", counters.consumed, counters.cloud_consumed)
        };
        let renewal = match balance.renews_at {
            Some(at) => {
                format!("at {at}, then on day {} of each month, or on its last day", install.anchor_day)
            }
            None => "never".to_owned(),
        };
        [
            format!("install {}", install.id),
            format!("plan: {}", balance.plan),
            format!("requests left: {}", left(balance.remaining, balance.quota.requests)),
            format!("of these, in the cloud: {}", left(balance.cloud_remaining, balance.quota.cloud)),
            format!("current period: since {}", balance.period_start),
            format!("renewal: {renewal}"),
            format!("requests under monthly plans, in this period: {}", used(&install.monthly)),
            format!("requests under plans that are never renewed: {}", used(&install.lifetime)),
            format!("running requests: {}", install.running()),
            format!("last active: {}", install.last_active_at),
            format!("created: {}", install.created_at),
        ]
        .join("\n  ")
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let Self { install, balance } = self;
        json!({
            "installId": install.id.to_string(),
            "plan": balance.plan.as_str(),
            "capped": balance.quota.capped().map_or("none", Counted::as_str),
            "remaining": balance.remaining,
            "cloudRemaining": balance.cloud_remaining,
            "periodStart": balance.period_start.to_string(),
            "renewsAt": balance.renews_at.map(|at| at.to_string()),
            "lifetimeConsumed": install.lifetime.consumed,
            "lifetimeCloudConsumed": install.lifetime.cloud_consumed,
            "monthlyConsumed": install.monthly.consumed,
            "monthlyCloudConsumed": install.monthly.cloud_consumed,
            "reserved": install.running(),
            "lastActiveAt": install.last_active_at.to_string(),
            "createdAt": install.created_at.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_ledger::credits::{Plan, Quota};

    const ID: &str = "0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10";

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    /// An install that became `pro` at the end of January, after three requests as `core`.
    fn pro() -> Install {
        let began = at("2026-01-31T12:00:00Z");
        let lifetime = Counters { consumed: 3, cloud_consumed: 3, ..Counters::default() };
        let monthly = Counters { consumed: 900, cloud_consumed: 12, reserved: 2, cloud_reserved: 1 };
        Install { lifetime, monthly, ..Install::new(ID.parse().unwrap(), began).under(Plan::Pro, began) }
    }

    fn plans() -> Plans {
        let pro = Quota { counted: Counted::Monthly, requests: Some(1_000), cloud: Some(20) };
        Plans { pro, ..Plans::default() }
    }

    #[test]
    fn an_install_is_shown_with_what_its_plan_has_left() {
        let shown = Shown::new(&pro(), &plans(), at("2026-02-10T00:00:00Z"));
        let expected = format!(
            "install {ID}\n  plan: pro\n  requests left: 98 of 1000\n  of these, in the cloud: 7 of 20\n  \
             current period: since 2026-01-31T12:00:00.000000Z\n  \
             renewal: at 2026-02-28T12:00:00.000000Z, then on day 31 of each month, or on its last day\n  \
             requests under monthly plans, in this period: 900 (12 of them in the cloud)\n  \
             requests under plans that are never renewed: 3 (3 of them in the cloud)\n  running requests: 2\n  \
             last active: 2026-01-31T12:00:00.000000Z\n  created: 2026-01-31T12:00:00.000000Z"
        );
        assert_eq!(shown.text(), expected);
        assert_eq!(
            shown.json(),
            json!({
                "installId": ID, "plan": "pro", "capped": "monthly", "remaining": 98, "cloudRemaining": 7,
                "periodStart": "2026-01-31T12:00:00.000000Z", "renewsAt": "2026-02-28T12:00:00.000000Z",
                "lifetimeConsumed": 3, "lifetimeCloudConsumed": 3, "monthlyConsumed": 900, "monthlyCloudConsumed": 12,
                "reserved": 2, "lastActiveAt": "2026-01-31T12:00:00.000000Z", "createdAt": "2026-01-31T12:00:00.000000Z",
            })
        );
    }

    #[test]
    fn a_dormant_install_is_shown_in_the_present_period_with_nothing_used_of_it() {
        let shown = Shown::new(&pro(), &plans(), at("2026-11-29T00:00:00Z")).json();
        assert_eq!(
            (&shown["remaining"], &shown["cloudRemaining"], &shown["monthlyConsumed"]),
            (&json!(1_000), &json!(20), &json!(0))
        );
        assert_eq!(
            (&shown["periodStart"], &shown["renewsAt"]),
            (&json!("2026-10-31T12:00:00.000000Z"), &json!("2026-11-30T12:00:00.000000Z"))
        );
    }

    #[test]
    fn a_plan_that_is_never_renewed_and_one_without_an_end_say_so() {
        let now = at("2026-02-10T00:00:00Z");
        let core = Shown::new(&Install { plan: Plan::Core, ..pro() }, &plans(), now);
        for line in ["plan: core", "requests left: 47 of 50", "in the cloud: any number", "renewal: never"] {
            assert!(core.text().contains(line), "{line:?} is not in\n{}", core.text());
        }
        let shown = core.json();
        assert_eq!((&shown["capped"], &shown["renewsAt"]), (&json!("lifetime"), &Value::Null));
        let max = Shown::new(&Install { plan: Plan::Max, ..pro() }, &plans(), now);
        for line in ["requests left: any number", "in the cloud: 4987 of 5000"] {
            assert!(max.text().contains(line), "{line:?} is not in\n{}", max.text());
        }
        assert_eq!((&max.json()["capped"], &max.json()["remaining"]), (&json!("none"), &Value::Null));
    }
}
