//! The wallet fails, loses its answers and dawdles.

use crate::scene::{Scene, eventually, job_of};
use std::time::Duration;
use tithe_engine::EngineError;
use tithe_jobs::{JobState, StateName};
use tithe_wallet_sim::{Fault, Operation};

const SLOWER_THAN_PATIENCE: Fault = Fault::Delay(Duration::from_secs(11));

#[tokio::test(start_paused = true)]
async fn an_evaluation_invoice_that_fails_is_made_when_the_customer_asks_again() {
    for fault in [Fault::Fail, Fault::LoseAnswer, SLOWER_THAN_PATIENCE] {
        let scene = Scene::open().await;
        let server = scene.started();
        for _ in 0..3 {
            server.wallet_faults().queue(Operation::InvoiceCreate, fault);
        }
        let refused = server.create_keyed("hello", "k").await;
        assert!(matches!(refused, Err(EngineError::NoWallet)), "{fault:?}: {refused:?}");
        // A failure is not repeated by itself; the customer does that.
        let answered =
            eventually("the wallet is back", async || server.create_keyed("hello", "k").await.ok());
        let answered = answered.await;
        assert!(!answered.replayed);
        let id = job_of(&answered);
        assert_eq!(scene.pay_through(id).await.state.name(), StateName::Complete);
        assert_eq!(server.create_keyed("hello", "k").await.unwrap().response, answered.response);
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again_by_itself() {
    for fault in [Fault::LoseAnswer, SLOWER_THAN_PATIENCE] {
        let scene = Scene::open().await;
        let server = scene.started();
        server.wallet_faults().queue(Operation::InvoiceCreate, fault);
        server.wallet_faults().queue(Operation::InvoiceCreate, fault);
        let id = server.create("hello").await;
        assert_eq!(scene.pay_through(id).await.state.name(), StateName::Complete);
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_waits_accepted_while_its_work_invoice_cannot_be_made_and_then_goes_on() {
    for fault in [Fault::Fail, Fault::LoseAnswer, SLOWER_THAN_PATIENCE] {
        let scene = Scene::open().await;
        let server = scene.started();
        let id = server.create("hello").await;
        // More failures than there are attempts.
        for _ in 0..60 {
            server.wallet_faults().queue(Operation::InvoiceCreate, fault);
        }
        scene.pay_evaluation(id).await;
        scene.until(id, |job| matches!(job.state, JobState::Accepted { .. })).await;
        assert_eq!(scene.pay_through_work(id).await.state.name(), StateName::Complete);
        assert_eq!(scene.backend.evaluations(), 1, "a job that was accepted is not evaluated again");
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_work_invoice_that_can_never_be_made_ends_the_job_for_the_fee() {
    let mut scene = Scene::open().await;
    scene.settings.outage_patience = Duration::from_mins(10);
    let server = scene.started();
    let id = server.create("hello").await;
    for _ in 0..500 {
        server.wallet_faults().queue(Operation::InvoiceCreate, Fault::Fail);
    }
    scene.pay_evaluation(id).await;
    scene.until_state(id, StateName::Failed).await;
    let moved = scene.moved(id).await;
    assert_eq!((moved.paid, moved.owed), (moved.charged, 0));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_payment_is_found_though_looking_it_up_goes_wrong_at_first() {
    for fault in [Fault::Fail, Fault::LoseAnswer, SLOWER_THAN_PATIENCE] {
        let scene = Scene::open().await;
        scene.wallet.faults().silence_settlements(true);
        let server = scene.started();
        let id = server.create("hello").await;
        for _ in 0..6 {
            server.wallet_faults().queue(Operation::InvoiceStatus, fault);
        }
        assert_eq!(scene.pay_through(id).await.state.name(), StateName::Complete);
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_is_not_refused_because_the_wallet_is() {
    let scene = Scene::open().await;
    let server = scene.server();
    let id = server.create("hello").await;
    scene.pay_evaluation(id).await;
    server.wallet_faults().queue(Operation::InvoiceStatus, Fault::Fail);
    let view = server.engine.jobs.view(id).await.unwrap();
    assert_eq!(view.job.state.name(), StateName::AwaitingEvalPayment);
    // At most once a second.
    let view = server.engine.jobs.view(id).await.unwrap();
    assert_eq!(view.job.state.name(), StateName::AwaitingEvalPayment);
    scene.clock.advance(Duration::from_secs(1));
    let view = server.engine.jobs.view(id).await.unwrap();
    assert_eq!(view.job.state.name(), StateName::Evaluating);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn events_that_cannot_be_had_are_asked_for_again() {
    let mut scene = Scene::open().await;
    scene.settings.poll_interval = Duration::from_hours(9);
    for _ in 0..3 {
        scene.wallet.faults().queue(Operation::Settlements, Fault::Fail);
    }
    let server = scene.started();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let id = server.create("hello").await;
    assert_eq!(scene.pay_through(id).await.state.name(), StateName::Complete);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn with_a_wallet_that_is_always_rough_every_job_still_completes() {
    let scene = Scene::open_rough("lose=200,fail=200,delay_ms=900").await;
    let server = scene.started();
    let mut jobs = Vec::new();
    for n in 0..12 {
        let request = format!("question {n}");
        let ask = async || server.create_keyed(&request, &request).await.ok();
        jobs.push(job_of(&eventually("the job is taken on", ask).await));
    }
    for id in jobs {
        assert_eq!(scene.pay_through(id).await.state.name(), StateName::Complete);
    }
    scene.finish().await;
}
