//! A server stops gracefully.

use crate::scene::{Op, Point, Scene, When, eventually};
use std::time::Duration;
use tithe_bootstrap::{BootstrapRepository, StateName as NodeState};
use tithe_jobs::StateName;
use tithe_lightning::TestPayer;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn what_runs_is_finished_within_patience() {
    let scene = Scene::open().await;
    let mut server = scene.started();
    let id = server.create("hello").await;
    scene.pay_evaluation(id).await;
    let mut gate = scene.backend.gate(Point::Delta(5));
    scene.pay_work(id).await;
    gate.reached().await;
    let open = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        gate.open();
    };
    tokio::join!(server.stop(Duration::from_secs(10)), open);
    assert_eq!(scene.state(id).await, StateName::Complete);
    assert_eq!(scene.backend.works(), 1);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_takes_longer_is_handed_back_and_taken_up_at_once_by_another() {
    for point in [Point::Evaluation, Point::Work, Point::Delta(5), Point::WorkEnd] {
        let scene = Scene::open().await;
        let mut server = scene.started();
        let id = server.create("hello").await;
        let mut gate = scene.backend.gate(point);
        scene.pay_evaluation(id).await;
        if point != Point::Evaluation {
            scene.pay_work(id).await;
        }
        gate.reached().await;
        server.stop(Duration::from_secs(2)).await;
        let lease = scene.job(id).await.lease;
        assert_eq!((lease.owner, lease.attempts), (None, 0), "an attempt that was cut short does not count");
        let stopped = Instant::now();
        let _other = scene.started();
        if point == Point::Evaluation {
            scene.pay_work(id).await;
        }
        scene.until_state(id, StateName::Complete).await;
        assert!(stopped.elapsed() < Duration::from_secs(1), "{point:?}: {:?}", stopped.elapsed());
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_server_stops_at_once_and_takes_on_nothing_more() {
    let scene = Scene::open().await;
    let mut server = scene.started();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let asked = Instant::now();
    server.stop(Duration::from_mins(1)).await;
    assert!(asked.elapsed() < Duration::from_millis(100), "{:?}", asked.elapsed());
    let id = server.create("hello").await;
    scene.pay_evaluation(id).await;
    server.engine.payments.poll().await.unwrap();
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(scene.backend.evaluations(), 0);
    server.start();
    assert_eq!(scene.pay_through_work(id).await.state.name(), StateName::Complete);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_workers_are_all_busy_stops_too() {
    let mut scene = Scene::open().await;
    scene.settings.workers = 1;
    let mut server = scene.started();
    let (running, waiting) = (server.create("one").await, server.create("two").await);
    let mut gate = scene.backend.gate(Point::Evaluation);
    scene.pay_evaluation(running).await;
    gate.reached().await;
    scene.pay_evaluation(waiting).await;
    scene.until_state(waiting, StateName::Evaluating).await;
    let asked = Instant::now();
    server.stop(Duration::from_secs(2)).await;
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_eq!(scene.backend.evaluations(), 1, "nothing new was taken on");
    let _other = scene.started();
    for id in [running, waiting] {
        assert_eq!(scene.pay_through_work(id).await.state.name(), StateName::Complete);
    }
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_without_a_store_ends_and_the_lease_frees_the_work() {
    let scene = Scene::open().await;
    let mut server = scene.started();
    let id = server.create("hello").await;
    let mut gate = scene.backend.gate(Point::Evaluation);
    scene.pay_evaluation(id).await;
    gate.reached().await;
    scene.store_faults.take_away();
    server.stop(Duration::from_secs(1)).await;
    scene.store_faults.mend();
    let _other = scene.started();
    assert_eq!(scene.pay_through_work(id).await.state.name(), StateName::Complete);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_runs_already_claims_at_once_what_another_hands_back() {
    let mut scene = Scene::open().await;
    // It must not be found by looking.
    scene.settings.claim_interval = Duration::from_hours(1);
    let mut server = scene.started();
    let id = server.create("hello").await;
    scene.pay_evaluation(id).await;
    let mut gate = scene.backend.gate(Point::Delta(5));
    scene.pay_work(id).await;
    gate.reached().await;
    let _other = scene.started();
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.stop(Duration::from_secs(2)).await;
    let stopped = Instant::now();
    scene.until_state(id, StateName::Complete).await;
    assert!(stopped.elapsed() < Duration::from_secs(1), "{:?}", stopped.elapsed());
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_being_made_is_handed_back_too() {
    let scene = Scene::open().await;
    let mut server = scene.started();
    // The call of the provisioner does not return.
    server.power.cut_at(Op::NodeCreate, 1, When::After);
    let node = server.buy_node("k").await.unwrap();
    let invoice = scene.invoice(node.invoice).await;
    scene.wallet.pay(&invoice.payment_request.parse().unwrap()).await.unwrap();
    server.power.goes_off().await;
    let _other = scene.started();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let power = server.power.clone();
    let mend = async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        power.mend();
    };
    tokio::join!(server.stop(Duration::from_secs(1)), mend);
    let stopped = Instant::now();
    eventually("the node is ready", async || {
        let bootstrap = scene.store.bootstrap(node.id).await.unwrap().unwrap();
        (bootstrap.state_name() == NodeState::Ready).then_some(())
    })
    .await;
    assert!(stopped.elapsed() < Duration::from_secs(1), "the claim lasts longer: {:?}", stopped.elapsed());
    assert_eq!(scene.provisioner.nodes_made(node.id).unwrap(), 1);
    scene.finish().await;
}
