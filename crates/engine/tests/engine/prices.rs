//! The price of bitcoin goes away and moves.

use crate::scene::{Point, Scene, asking};
use std::time::Duration;
use tithe_engine::EngineError;
use tithe_jobs::{JobState, StateName};

#[tokio::test(start_paused = true)]
async fn without_a_price_nothing_is_estimated_or_begun() {
    let scene = Scene::open().await;
    let server = scene.server();
    scene.prices.set(None);
    assert!(matches!(
        server.engine.quotes.estimate("hello", None, None, None).await,
        Err(EngineError::NoPrice(_))
    ));
    let refused = server.create_with(asking("hello"), None).await;
    assert!(matches!(refused, Err(EngineError::NoPrice(_))));
    let report = server.engine.audit().await.unwrap();
    assert_eq!((report.jobs, report.invoices), (0, 0));
    scene.prices.set(Some("100000"));
    assert!(server.engine.quotes.estimate("hello", None, None, None).await.is_ok());
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_being_evaluated_waits_for_a_price_and_goes_on() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("hello").await;
    let mut gate = scene.backend.gate(Point::Evaluation);
    scene.pay_evaluation(id).await;
    gate.reached().await;
    scene.prices.set(None);
    gate.open();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(scene.state(id).await, StateName::Evaluating);
    assert_eq!(scene.moved(id).await.charged, 0);
    scene.prices.set(Some("100000"));
    assert_eq!(scene.pay_through_work(id).await.state.name(), StateName::Complete);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn however_long_no_price_is_known_no_job_fails_for_it_and_no_model_is_asked() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("hello").await;
    scene.prices.set(None);
    scene.pay_evaluation(id).await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(scene.state(id).await, StateName::Evaluating);
    assert_eq!(scene.backend.evaluations(), 0);
    scene.prices.set(Some("100000"));
    assert_eq!(scene.pay_through_work(id).await.state.name(), StateName::Complete);
    assert_eq!(scene.backend.evaluations(), 1);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn work_is_charged_at_the_price_of_its_quote() {
    let mut charges = Vec::new();
    for later in ["100000", "50000", "900000"] {
        let scene = Scene::open().await;
        let server = scene.started();
        let id = server.create("hello").await;
        scene.pay_evaluation(id).await;
        let asked = scene.until_state(id, StateName::AwaitingWorkPayment).await;
        scene.prices.set(Some(later));
        let job = scene.pay_through_work(id).await;
        let JobState::Complete { work, completion, .. } = &job.state else { panic!("{:?}", job.state) };
        assert_eq!(Some(work), asked.state.work());
        charges.push(completion.settlement.charged);
        scene.finish().await;
    }
    assert_eq!(charges[0], charges[1]);
    assert_eq!(charges[0], charges[2]);
}
