//! What is printed.

use super::check::Area;
use super::excerpt;
use super::outcome::Fault;
use super::purse::{PaymentState, Purse};
use super::runner::{Finished, Outcome};
use serde_json::{Value, json};
use std::time::Duration;
use tithe_money::Msats;

/// One line about a check.
pub(super) fn line(finished: &Finished) -> String {
    let Finished { name, section, took, outcome, .. } = finished;
    match outcome {
        Outcome::Passed => format!("ok   {name}  ({} ms)", took.as_millis()),
        Outcome::Failed(fault) => format!(
            "FAIL {name}: {}: expected {}, got {} (contract: {section})",
            fault.request, fault.expected, fault.got
        ),
        Outcome::Skipped { reason, .. } => format!("skip {name}: {}", excerpt::short(reason)),
    }
}

/// The numbers of a run.
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
    over_budget: usize,
}

impl Counts {
    fn of(finished: &[Finished]) -> Self {
        let count = |is: fn(&Outcome) -> bool| finished.iter().filter(|done| is(&done.outcome)).count();
        Self {
            passed: count(|outcome| matches!(outcome, Outcome::Passed)),
            failed: count(|outcome| matches!(outcome, Outcome::Failed(_))),
            skipped: count(|outcome| matches!(outcome, Outcome::Skipped { .. })),
            over_budget: count(|outcome| matches!(outcome, Outcome::Skipped { over_budget: true, .. })),
        }
    }
}

/// The last line.
pub(super) fn summary(finished: &[Finished], purse: &Purse, payer: &str, took: Duration) -> String {
    let Counts { passed, failed, skipped, over_budget } = Counts::of(finished);
    let seconds = took.as_millis() / 100;
    let over_budget = match over_budget {
        0 => String::new(),
        checks => format!("; {checks} would have exceeded the budget (--budget-sats)"),
    };
    format!(
        "{passed} ok, {failed} failed, {skipped} skipped in {}.{} s; spent {} of at most {} sats ({payer}){over_budget}",
        seconds / 10,
        seconds % 10,
        sats(purse.spent()),
        purse.budget().get(),
    )
}

/// The list of all checks.
pub(super) fn list(areas: &[Area]) -> String {
    let lines = areas.iter().flat_map(|area| {
        let checks = area.checks.iter().map(|check| format!("  {:<34} {}\n", check.name, check.proves));
        std::iter::once(format!("{} (contract: {})\n", area.name, area.section)).chain(checks)
    });
    lines.collect()
}

/// The list of all checks as JSON.
pub(super) fn list_json(areas: &[Area]) -> Value {
    let checks = areas.iter().flat_map(|area| {
        area.checks.iter().map(|check| {
            json!({
                "name": check.name,
                "area": area.name,
                "section": area.section,
                "proves": check.proves,
                "needs": check.needs,
            })
        })
    });
    json!({ "checks": checks.collect::<Vec<_>>() })
}

/// The whole report as JSON.
pub(super) fn json(server: &str, finished: &[Finished], purse: &Purse, payer: &str, took: Duration) -> Value {
    let Counts { passed, failed, skipped, over_budget } = Counts::of(finished);
    let payments = purse.payments().iter().map(|payment| {
        json!({
            "check": payment.check,
            "paymentHash": payment.hash.to_string(),
            "amountSats": payment.amount.get(),
            "costMsats": if payment.state == PaymentState::Failed { 0 } else { payment.cost.get() },
            "state": payment.state.as_str(),
        })
    });
    json!({
        "server": server,
        "version": env!("CARGO_PKG_VERSION"),
        "payer": payer,
        "budgetSats": purse.budget().get(),
        "spentMsats": purse.spent().get(),
        "summary": {
            "passed": passed,
            "failed": failed,
            "skipped": skipped,
            "overBudget": over_budget,
            "millis": millis(took),
        },
        "checks": finished.iter().map(check_json).collect::<Vec<_>>(),
        "payments": payments.collect::<Vec<_>>(),
    })
}

fn check_json(finished: &Finished) -> Value {
    let Finished { name, area, section, proves, took, outcome } = finished;
    let mut check = json!({
        "name": name,
        "area": area,
        "section": section,
        "proves": proves,
        "millis": millis(*took),
    });
    let ended = match outcome {
        Outcome::Passed => json!({ "outcome": "ok" }),
        Outcome::Failed(Fault { request, expected, got }) => {
            json!({ "outcome": "failed", "request": request, "expected": expected, "got": got })
        }
        Outcome::Skipped { reason, over_budget } => {
            json!({ "outcome": "skipped", "reason": reason, "overBudget": over_budget })
        }
    };
    if let (Value::Object(check), Value::Object(ended)) = (&mut check, ended) {
        check.extend(ended);
    }
    check
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// An amount in sats, exact to the msat.
fn sats(amount: Msats) -> String {
    match (amount.get() / 1_000, amount.get() % 1_000) {
        (whole, 0) => whole.to_string(),
        (whole, rest) => format!("{whole}.{rest:03}"),
    }
}
