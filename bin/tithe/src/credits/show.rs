//! What one install has used.

use serde_json::{Value, json};
use tithe_ledger::credits::{Counters, Install};

/// For people.
pub(crate) fn text(install: &Install) -> String {
    let used = |counters: &Counters| {
        let running = match counters.reserved {
            0 => String::new(),
            reserved => format!(", {reserved} running ({} of them in the cloud)", counters.cloud_reserved),
        };
        format!("{} ({} of them in the cloud){running}", counters.consumed, counters.cloud_consumed)
    };
    format!(
        "install {}\n  plan: {}\n  period: from {} to {}, renewed on day {} of the month\n  requests of this period: {}\n  \
         requests altogether: {}\n  last active: {}\n  created: {}",
        install.id,
        install.plan,
        install.period_start,
        install.anchor().next_renewal(install.period_start),
        install.anchor_day,
        used(&install.monthly),
        used(&install.lifetime),
        install.last_active_at,
        install.created_at
    )
}

/// For programs.
pub(crate) fn json(install: &Install) -> Value {
    let counters = |counters: &Counters| {
        json!({
            "consumed": counters.consumed,
            "cloudConsumed": counters.cloud_consumed,
            "reserved": counters.reserved,
            "cloudReserved": counters.cloud_reserved,
        })
    };
    json!({
        "id": install.id.to_string(),
        "plan": install.plan.as_str(),
        "anchorDay": install.anchor_day,
        "periodStart": install.period_start.to_string(),
        "renewsAt": install.anchor().next_renewal(install.period_start).to_string(),
        "lifetime": counters(&install.lifetime),
        "monthly": counters(&install.monthly),
        "lastActiveAt": install.last_active_at.to_string(),
        "createdAt": install.created_at.to_string(),
    })
}
