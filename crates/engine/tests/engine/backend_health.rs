//! A backend that cannot work, and one that only cannot do one request.

use crate::scene::{Answer, Ends, Scene, Server, asking, eventually};
use std::time::Duration;
use tithe_engine::EngineError;
use tithe_jobs::StateName;
use tithe_ledger::TransferKind;

fn refusal() -> Answer {
    Answer::of(&[], Ends::Misconfigured)
}

impl Scene {
    async fn probing() -> Self {
        let mut scene = Self::open().await;
        scene.settings.probe_backend = true;
        // Each probe is a completion.
        scene.settings.offered_models.remove("sim-embedding");
        scene
    }

    /// How many probes were booked.
    async fn probes_booked(&self) -> usize {
        let transfers = self.transfers().await;
        let probe = |key: &str| key.starts_with("uncollected:") && key.ends_with(":probe");
        transfers.iter().filter(|it| it.kind == TransferKind::Uncollected && probe(it.key.as_str())).count()
    }
}

async fn sells(server: &Server) -> bool {
    match server.create_with(asking("hello"), None).await {
        Ok(_) => true,
        Err(EngineError::NoBackend) => false,
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_backend_cannot_do_is_not_sold_and_probed_until_it_can() {
    let scene = Scene::probing().await;
    for _ in 0..5 {
        scene.backend.say_to_evaluation(refusal());
    }
    let server = scene.started();
    eventually("nothing is sold", async || (!sells(&server).await).then_some(())).await;
    assert_eq!(server.engine.readiness().await.backend, Some(false));
    eventually("it is sold again", async || sells(&server).await.then_some(())).await;
    // Both models were probed at the start and again, and what that cost is booked.
    assert!(scene.backend.evaluations() >= 6, "{}", scene.backend.evaluations());
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(scene.probes_booked().await, usize::try_from(scene.backend.evaluations()).unwrap() - 5);
    assert_eq!(server.engine.readiness().await.backend, Some(true));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_paid_job_waits_while_the_backend_refuses_the_server_and_no_attempt_is_used() {
    let mut scene = Scene::probing().await;
    scene.settings.max_attempts = 1;
    let server = scene.started();
    eventually("both models were probed", async || (scene.backend.evaluations() >= 2).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let id = server.create("hello").await;
    // The evaluation, and the probes that follow.
    for _ in 0..4 {
        scene.backend.say_to_evaluation(refusal());
    }
    scene.pay_evaluation(id).await;
    eventually("nothing is sold", async || (!sells(&server).await).then_some(())).await;
    assert_eq!(scene.state(id).await, StateName::Evaluating);
    assert_eq!(scene.pay_through_work(id).await.state.name(), StateName::Complete);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_one_request_causes_keeps_nobody_else_from_buying() {
    let mut scene = Scene::probing().await;
    scene.settings.max_attempts = 2;
    let server = scene.started();
    eventually("both models were probed", async || (scene.backend.evaluations() >= 2).then_some(())).await;
    let id = server.create("hello").await;
    scene.pay_evaluation(id).await;
    // The work is refused each time, and each probe is answered.
    for _ in 0..2 {
        scene.backend.say_to_work(refusal());
    }
    assert_eq!(scene.pay_through_work(id).await.state.name(), StateName::Failed);
    assert!(sells(&server).await);
    assert_eq!(server.engine.readiness().await.backend, Some(true));
    scene.finish().await;
}
