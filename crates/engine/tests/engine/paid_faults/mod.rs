//! Faults between the offer of a request and the end of its payment, one by one: after each of them, the customer has the answer, the
//! money, or a claim that works, and the ledger and the wallet agree.
//!
//! The steps are in a table. That the table is complete is a test: a call into the world that it does not name makes it fail.

mod steps;
mod stores;
mod trial;

use crate::scene::{Call, CallFault, Port};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use steps::{Flow, STEPS, Then};
use stores::StoreKind;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use trial::{Case, Trial};

/// How many trials run at once on a database.
const AT_ONCE: usize = 8;

/// How long a case may take on a database; on the memory store, time passes as soon as nothing else happens.
const PATIENCE: Duration = Duration::from_mins(2);
const PATIENCE_IN_MEMORY: Duration = Duration::from_hours(24 * 365);

/// How often a case is run whose fault does not come about.
const REPEATS: usize = 3;

/// Every fault of every step. On a database, where time is real, it is one fault of each step, each time another one, unless
/// `TITHE_TEST_FAULTS=long` asks for all (`just test-faults`).
fn cases(kind: StoreKind) -> Vec<Case> {
    let all_faults =
        kind == StoreKind::Memory || std::env::var("TITHE_TEST_FAULTS").is_ok_and(|which| which == "long");
    let mut cases = Vec::new();
    for (nth, step) in STEPS.iter().enumerate() {
        for (number, fault) in step.faults.iter().enumerate() {
            if !all_faults && number != nth % step.faults.len() {
                continue;
            }
            // An address is given half a minute, of real time.
            let is_slow = step.call.port == Port::Address && matches!(fault, CallFault::Silent { .. });
            if is_slow && kind != StoreKind::Memory {
                continue;
            }
            let all: &[Then] =
                if step.flow.is_sent() { &[Then::Repeats, Then::Claims] } else { &[Then::Claims] };
            let all: Vec<Then> =
                all.iter().copied().filter(|then| step.only.is_none_or(|only| only == *then)).collect();
            // On a database, each fault has one of the customers.
            let thens = if kind == StoreKind::Memory { &all[..] } else { &all[number % all.len()..][..1] };
            cases.extend(thens.iter().map(|then| Case { step, fault: *fault, then: *then }));
        }
    }
    cases
}

/// Runs every case on a store of its own, so many at once; the reasons of the failures are printed as they come.
async fn all_on(kind: StoreKind, at_once: usize) {
    let patience = if kind == StoreKind::Memory { PATIENCE_IN_MEMORY } else { PATIENCE };
    let room = Arc::new(Semaphore::new(at_once));
    let mut trials = JoinSet::new();
    for case in cases(kind) {
        let room = room.clone();
        trials.spawn(async move {
            let _permit = room.acquire_owned().await.unwrap();
            for _ in 0..REPEATS {
                let trial = tokio::spawn(Trial::run(kind, case));
                let stopping = trial.abort_handle();
                match tokio::time::timeout(patience, trial).await {
                    Ok(Ok(Some(calls))) => return Ok(calls),
                    Ok(Ok(None)) => {}
                    Ok(Err(_failed)) => break,
                    Err(_elapsed) => {
                        stopping.abort();
                        return Err(format!("{}: it does not end", case.name(kind)));
                    }
                }
            }
            Err(case.name(kind))
        });
    }
    let (mut failed, mut seen) = (Vec::new(), BTreeSet::new());
    for ended in trials.join_all().await {
        match ended {
            Ok(calls) => seen.extend(calls),
            Err(name) => failed.push(name),
        }
    }
    assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
    let table: BTreeSet<Call> = STEPS.iter().map(|step| step.call).collect();
    let missing: Vec<_> = seen.difference(&table).collect();
    assert!(missing.is_empty(), "calls that the table does not have: {missing:?}");
}

#[tokio::test(start_paused = true)]
async fn the_table_has_every_call_into_the_world() {
    let mut seen: BTreeSet<Call> = BTreeSet::new();
    for flow in Flow::ALL {
        let calls = Trial::without_faults(flow).await;
        for step in STEPS.iter().filter(|step| step.flow == flow && step.after.is_none()) {
            let times = calls.get(&step.call).copied().unwrap_or_default();
            assert!(
                times >= step.nth,
                "{flow:?}: {:?} is made {times} times, the table says {}",
                step.call,
                step.nth
            );
        }
        seen.extend(calls.into_keys());
    }
    let table: BTreeSet<Call> =
        STEPS.iter().filter(|step| step.after.is_none()).map(|step| step.call).collect();
    assert_eq!(seen, table, "the calls that were seen, and those of the table");
}

#[tokio::test(start_paused = true)]
async fn after_any_fault_the_customer_has_the_answer_or_the_money() {
    all_on(StoreKind::Memory, 1).await;
}

// Time is real on a database.

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_any_fault_the_customer_has_the_answer_or_the_money_on_sqlite() {
    all_on(StoreKind::Sqlite, AT_ONCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes minutes: just test-faults"]
async fn after_any_fault_the_customer_has_the_answer_or_the_money_on_postgres() {
    all_on(StoreKind::Postgres, AT_ONCE).await;
}
