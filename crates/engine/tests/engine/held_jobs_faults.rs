//! Faults between the invoice of work whose payment is held and the end of that payment, one by one: after each of them, the work is
//! delivered and its payment taken, or the payment went back, and the ledger and the wallet agree.
//!
//! The calls are in a table, which a test checks to be complete.

use crate::fault_columns::{COMMIT, DO, LOOK_LATE, PART, backend, database, plan, tried, wallet};
use crate::held_jobs::asking_held;
use crate::held_jobs_crashes::assert_one_of_both;
use crate::scene::{Answer, Call, CallFault, Ends, Scene, Server, job_of, keyed};
use std::collections::BTreeSet;
use std::time::Duration;
use tithe_jobs::{Job, JobId};
use tithe_lightning::TestPayer;

/// How long something that was away stays away.
const OUTAGE: Duration = Duration::from_secs(3);

/// How long the customer waits between two looks, and how often they look.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
const LOOKS: usize = 3_600;

/// A call, and what goes wrong with it, one fault at a time.
#[derive(Clone, Copy)]
struct Step {
    what: &'static str,
    call: Call,
    /// Which of these calls, counted from 1.
    nth: u32,
    /// Whether the work fails.
    fails: bool,
    faults: &'static [CallFault],
}

const fn step(what: &'static str, call: Call, nth: u32, faults: &'static [CallFault]) -> Step {
    Step { what, call, nth, fails: false, faults }
}

const fn failing(what: &'static str, call: Call, nth: u32, faults: &'static [CallFault]) -> Step {
    Step { fails: true, ..step(what, call, nth, faults) }
}

const STEPS: &[Step] = &[
    step("the hold invoice is made", wallet("hold_invoice_create"), 1, DO),
    step("the hold invoice is recorded", database("invoice_issue"), 2, COMMIT),
    step("the held payment is noted", database("payment_hold"), 1, COMMIT),
    step("the work begins", backend("stream"), 1, DO),
    step("the answer goes on", backend("event"), 2, PART),
    step("the answer is stored", database("work_finish"), 1, COMMIT),
    step("the payment is taken", wallet("hold_invoice_settle"), 1, DO),
    step("the record says that it is taken", wallet("invoice_status"), 1, LOOK_LATE),
    step("the payment is credited and the work charged", database("payment_credit"), 2, COMMIT),
    failing("the failure is recorded", database("work_finish"), 1, COMMIT),
    failing("the payment is given back", wallet("hold_invoice_cancel"), 1, DO),
    failing("the record says that nothing is held", wallet("invoice_status"), 1, LOOK_LATE),
    failing("the job is ended", database("hold_end"), 1, COMMIT),
];

/// The calls until the evaluation is over, which are those of every job, and of every server.
const EARLIER: [Call; 7] = [
    wallet("balance"),
    wallet("payments_received"),
    wallet("payments_held"),
    wallet("invoice_create"),
    backend("complete"),
    database("job_create"),
    database("evaluation_finish"),
];

async fn scene(fails: bool) -> Scene {
    let mut scene = Scene::open().await;
    // Held payments are reported by their events. What the database has missed is found later.
    scene.settings.poll_interval = Duration::from_secs(30);
    scene.settings.wallet_timeout = Duration::from_secs(2);
    if fails {
        for _ in 0..30 {
            scene.backend.say_to_work(Answer::of(&[], Ends::Refused));
        }
    }
    scene
}

/// The customer pays whatever is asked for until the job has ended; whoever has died has a successor.
async fn buy(scene: &Scene, servers: &mut Vec<Server>, name: &str) -> Job {
    let answered = servers[0].create_with(asking_held("hello"), Some(keyed("hello", "k"))).await;
    let id: JobId = job_of(&answered.unwrap());
    for _ in 0..LOOKS {
        let job = scene.job(id).await;
        if job.state.name().is_terminal() {
            return job;
        }
        for hash in [job.evaluation_invoice(), job.state.work_invoice()].into_iter().flatten() {
            let invoice = scene.invoice(hash).await;
            // What was paid before is not paid again: the customer's wallet sees to that.
            let _paid_before = scene.wallet.pay(&invoice.payment_request.parse().unwrap()).await;
        }
        if servers.last().unwrap().power.is_off() {
            servers.push(scene.started());
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    panic!("{name}: it does not end: {:?}", scene.job(id).await)
}

/// One fault of one step. Returns all calls.
async fn trial(step: Step, fault: Option<CallFault>) -> BTreeSet<Call> {
    let Step { what, call, nth, fails, .. } = step;
    let name = format!("{what}: {fault:?}");
    let scene = scene(fails).await;
    let mut first = scene.server_elsewhere().await;
    if let Some(fault) = fault {
        plan(&scene, &first, call, nth, fault, OUTAGE);
    }
    first.start();
    let mut servers = vec![first];
    let job = buy(&scene, &mut servers, &name).await;
    assert!(fault.is_none() || servers[0].power.calls.has_struck(), "{name}: it has not come about");
    // The dead live after all; nothing changes by that.
    servers[0].power.mend();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = scene.job(job.id).await;
    assert_eq!(after.state, job.state, "{name}");
    assert_one_of_both(&scene, &after, &name).await;
    let seen = servers.iter().flat_map(|server| server.power.calls.seen().into_keys()).collect();
    drop(servers);
    scene.finish().await;
    seen
}

async fn all(fails: bool) {
    for (row, step) in STEPS.iter().enumerate().filter(|(_, step)| step.fails == fails) {
        for fault in tried(row, step.faults) {
            trial(*step, Some(fault)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_any_fault_held_work_is_delivered_and_paid_or_neither() {
    all(false).await;
}

#[tokio::test(start_paused = true)]
async fn after_any_fault_the_payment_of_held_work_that_fails_goes_back() {
    all(true).await;
}

#[tokio::test(start_paused = true)]
async fn the_table_of_held_work_has_every_call_into_the_world() {
    let mut seen = BTreeSet::new();
    for fails in [false, true] {
        let step = STEPS.iter().find(|step| step.fails == fails).unwrap();
        seen.extend(trial(*step, None).await);
    }
    let table: BTreeSet<Call> = STEPS.iter().map(|step| step.call).chain(EARLIER).collect();
    assert_eq!(seen, table, "the calls that were seen, and those of the table");
}
