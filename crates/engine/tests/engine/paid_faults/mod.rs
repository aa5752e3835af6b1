//! Faults between the offer of a request and the end of its payment, one by one: after each of them, the customer has the answer, the
//! money, or a claim that works, and the ledger and the wallet agree.
//!
//! The steps are in a table. That the table is complete is a test: a call into the world that it does not name makes it fail.

mod steps;
mod stores;
mod trial;

use crate::scene::Call;
use std::collections::BTreeSet;
use std::sync::Arc;
use steps::{Flow, STEPS};
use stores::StoreKind;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use trial::{Case, Then, Trial};

/// How many trials run at once on a database.
const AT_ONCE: usize = 12;

/// Every fault of every step.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for step in STEPS {
        for fault in step.faults {
            let is_choice = matches!(step.flow, Flow::Buys | Flow::BuysUnreported);
            let thens: &[Then] = if is_choice { &[Then::Repeats, Then::Claims] } else { &[Then::Claims] };
            cases.extend(thens.iter().map(|then| Case { step, fault: *fault, then: *then }));
        }
    }
    cases
}

/// Runs all cases on databases of their own, many at once. Time is real there.
async fn all_on(kind: StoreKind) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut trials = JoinSet::new();
    for case in cases() {
        let room = room.clone();
        trials.spawn(async move {
            let _permit = room.acquire().await.unwrap();
            Trial::run(kind, case).await;
        });
    }
    trials.join_all().await;
}

#[tokio::test(start_paused = true)]
async fn the_table_has_every_call_into_the_world() {
    let mut seen: BTreeSet<Call> = BTreeSet::new();
    for flow in Flow::ALL {
        let calls = Trial::without_faults(flow).await;
        for step in STEPS.iter().filter(|step| step.flow == flow && step.after.is_none()) {
            let times = calls.get(&step.call).copied().unwrap_or_default();
            assert!(times >= step.nth, "{flow:?}: {:?} is made {times} times, the table says {}", step.call, step.nth);
        }
        seen.extend(calls.into_keys());
    }
    let table: BTreeSet<Call> = STEPS.iter().filter(|step| step.after.is_none()).map(|step| step.call).collect();
    assert_eq!(seen, table, "the calls that were seen, and those of the table");
}

#[tokio::test(start_paused = true)]
async fn after_any_fault_the_customer_has_the_answer_or_the_money() {
    for case in cases() {
        Trial::run(StoreKind::Memory, case).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_any_fault_the_customer_has_the_answer_or_the_money_on_sqlite() {
    all_on(StoreKind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_any_fault_the_customer_has_the_answer_or_the_money_on_postgres() {
    all_on(StoreKind::Postgres).await;
}
