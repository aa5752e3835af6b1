//! A server dies at every step that it takes into the world; another one takes over; the dead one turns out to be alive.

use crate::scene::{Op, Point, Scene, Server, When, asking, job_of, keyed, somebody};
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::jobs::NewJobRequest;
use tithe_jobs::{JobId, StateName};
use tithe_ledger::{Transfer, TransferKind};
use tithe_lightning::TestPayer;
use tithe_money::{Msats, Sats};
use tithe_trust::NostrPubkey;

/// A customer who asks under a key, pays whatever is asked for, and begins again when their server dies.
async fn buy(scene: &Scene, server: Arc<Server>, who: Option<NostrPubkey>) -> JobId {
    let asking = tokio::spawn(async move {
        let new = NewJobRequest { identity: who, ..asking("hello") };
        server.create_with(new, Some(keyed("hello", "k"))).await
    });
    let id = job_of(&asking.await.unwrap().unwrap());
    loop {
        let job = scene.job(id).await;
        if job.state.name().is_terminal() {
            return id;
        }
        for hash in [job.evaluation_invoice(), job.state.work_invoice()].into_iter().flatten() {
            let invoice = scene.invoice(hash).await;
            // What was paid before is not paid again: the customer's wallet sees to that.
            let _paid_before = scene.wallet.pay(&invoice.payment_request.parse().unwrap()).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Who asks: nobody known, somebody for whom the pool pays everything, and somebody for whom it pays a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Served {
    Anonymously,
    Free,
    Partially,
}

/// All transfers but the operator's losses.
async fn paid_transfers(scene: &Scene) -> Vec<Transfer> {
    let transfers = scene.transfers().await;
    transfers.into_iter().filter(|transfer| transfer.kind != TransferKind::Uncollected).collect()
}

async fn dies_at(op: Op, nth: u32, when: When) {
    dies_serving(Served::Anonymously, op, nth, when).await;
}

async fn dies_serving(served: Served, op: Op, nth: u32, when: When) {
    let mut scene = Scene::open().await;
    let (who, budget) = match served {
        Served::Anonymously => (None, 0),
        Served::Free => (Some(somebody(1)), 1_000),
        Served::Partially => (Some(somebody(1)), 10),
    };
    scene.settings.rules.free_tier.budgets.new = Sats::new(budget).unwrap();
    scene.server().engine.pool.open().await.unwrap();
    let mut first = scene.server_elsewhere().await;
    first.power.cut_at(op, nth, when);
    first.start();
    let first = Arc::new(first);
    let point = format!("{served:?} {when:?} {op:?} {nth}");
    tokio::select! {
        _ = buy(&scene, first.clone(), who) => {
            // The last step may be the end of the job.
            first.power.goes_off().await;
        }
        () = first.power.goes_off() => {}
        () = tokio::time::sleep(Duration::from_mins(5)) => panic!("never came to {point}"),
    }
    let second = Arc::new(scene.started());
    scene.clock.advance(scene.settings.lease + Duration::from_secs(1));
    let bought = tokio::time::timeout(Duration::from_mins(5), buy(&scene, second.clone(), who)).await;
    let id = bought.unwrap_or_else(|_| panic!("stuck after {point}"));
    let job = scene.job(id).await;
    assert_eq!(job.state.name(), StateName::Complete, "{point}");
    let transfers = paid_transfers(&scene).await;
    assert!(first.power.is_off(), "{point}");
    // The dead server's answers arrive after all: nobody pays for them, so they are the operator's loss, and nothing else.
    first.power.mend();
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(scene.job(id).await, job, "{point}");
    assert_eq!(paid_transfers(&scene).await, transfers, "{point}");
    let absorbed = scene.moved(id).await.absorbed;
    assert_eq!(absorbed > 0, who.is_some(), "{point}: {absorbed}");
    assert_eq!(second.engine.pool.status().await.unwrap().reserved, Msats::ZERO, "{point}");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_death_around_any_commit_loses_and_doubles_nothing() {
    for nth in 1..=7 {
        dies_at(Op::Commit, nth, When::Before).await;
        dies_at(Op::Commit, nth, When::After).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_around_any_commit_of_a_job_that_the_pool_pays_for_takes_its_money_once() {
    for (served, commits) in [(Served::Free, 5), (Served::Partially, 7)] {
        for nth in 1..=commits {
            dies_serving(served, Op::Commit, nth, When::Before).await;
            dies_serving(served, Op::Commit, nth, When::After).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_in_the_middle_of_free_work_leaves_its_reservation_to_the_next_server() {
    for op in [Op::Evaluate, Op::Work, Op::Delta] {
        dies_serving(Served::Free, op, 1, When::Before).await;
        dies_serving(Served::Free, op, 1, When::After).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_around_the_making_of_an_invoice_loses_and_doubles_nothing() {
    for nth in 1..=2 {
        dies_at(Op::Mint, nth, When::Before).await;
        dies_at(Op::Mint, nth, When::After).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_with_a_claimed_job_loses_and_doubles_nothing() {
    for nth in 1..=2 {
        dies_at(Op::Claim, nth, When::After).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_around_the_backends_answers_loses_and_doubles_nothing() {
    for op in [Op::Evaluate, Op::Work] {
        dies_at(op, 1, When::Before).await;
        dies_at(op, 1, When::After).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_in_the_middle_of_the_answer_loses_and_doubles_nothing() {
    for nth in [1, 2, 40] {
        dies_at(Op::Delta, nth, When::Before).await;
        dies_at(Op::Delta, nth, When::After).await;
    }
}

#[tokio::test(start_paused = true)]
async fn servers_that_keep_dying_at_the_work_fail_the_job_and_what_was_paid_is_owed_back() {
    let scene = Scene::open().await;
    let first = scene.started();
    let id = first.create("hello").await;
    scene.pay_evaluation(id).await;
    scene.until_state(id, StateName::AwaitingWorkPayment).await;
    first.power.cut();
    let work = scene.invoice(scene.job(id).await.state.work_invoice().unwrap()).await.amount.get();
    scene.pay(scene.job(id).await.state.work_invoice().unwrap()).await;
    for _ in 0..scene.settings.max_attempts {
        let mut gate = scene.backend.gate(Point::Work);
        let server = scene.started();
        gate.reached().await;
        server.power.cut();
        scene.clock.advance(scene.settings.lease + Duration::from_secs(1));
    }
    let _last = scene.started();
    scene.until_state(id, StateName::Failed).await;
    let moved = scene.moved(id).await;
    assert_eq!((moved.owed, moved.paid - moved.charged), (work, work));
    assert_eq!(scene.backend.works(), scene.settings.max_attempts);
    scene.finish().await;
}
