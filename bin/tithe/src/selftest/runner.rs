//! Runs the checks in order.

use super::check::{Area, Check};
use super::outcome::{Fault, Stop};
use super::run::Run;
use super::selection::Selection;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// How a check has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Failed(Fault),
    Skipped {
        reason: String,
        /// Whether it would have spent more than the budget.
        over_budget: bool,
    },
}

/// A check that has ended.
#[derive(Debug, Clone)]
pub(super) struct Finished {
    pub(super) name: &'static str,
    pub(super) area: &'static str,
    pub(super) section: &'static str,
    pub(super) proves: &'static str,
    pub(super) took: Duration,
    pub(super) outcome: Outcome,
}

/// Runs the selected checks; `report` is called after each.
pub(super) async fn run(
    areas: &[Area],
    selection: &Selection,
    patience: Duration,
    run: &mut Run,
    mut report: impl FnMut(&Finished),
) -> Vec<Finished> {
    let mut finished: Vec<Finished> = Vec::new();
    let mut passed: HashSet<&str> = HashSet::new();
    for area in areas {
        for check in area.checks.iter().filter(|check| selection.runs(check.name)) {
            let began = Instant::now();
            let outcome = if selection.skips(check.name) {
                Outcome::Skipped { reason: "--skip".to_owned(), over_budget: false }
            } else if let Some(missing) = check.needs.iter().find(|need| !passed.contains(*need)) {
                let reason = format!("it needs {missing}, which did not pass");
                Outcome::Skipped { reason, over_budget: false }
            } else {
                one(check, patience, run).await
            };
            if outcome == Outcome::Passed {
                passed.insert(check.name);
            }
            let took = began.elapsed();
            let (name, proves) = (check.name, check.proves);
            let done = Finished { name, area: area.name, section: area.section, proves, took, outcome };
            report(&done);
            finished.push(done);
        }
    }
    finished
}

async fn one(check: &Check, patience: Duration, run: &mut Run) -> Outcome {
    run.check = check.name;
    match tokio::time::timeout(patience, (check.run)(run)).await {
        Ok(Ok(())) => Outcome::Passed,
        Ok(Err(Stop::Fault(fault))) => Outcome::Failed(fault),
        Ok(Err(Stop::Skip(reason))) => Outcome::Skipped { reason, over_budget: false },
        Ok(Err(Stop::OverBudget(reason))) => Outcome::Skipped { reason, over_budget: true },
        Err(_elapsed) => Outcome::Failed(too_slow(patience, run)),
    }
}

/// The fault of a check that did not end, with the last answer, which may tell why.
fn too_slow(patience: Duration, run: &Run) -> Fault {
    let observed = run.api.observed();
    let request = observed.begun.clone().unwrap_or_else(|| "no request".to_owned());
    let last = observed.last.clone().map(|last| format!("; the last answer was {last}"));
    let expected = format!("an end of the check within {} s (--timeout)", patience.as_secs());
    Fault { request, expected, got: format!("none{}", last.unwrap_or_default()) }
}
