//! What strangers leave behind goes away, and looking for late payments costs no more the longer a server has run.

use crate::asks::{ask, of, scene as scene_of_asks};
use crate::scene::{Answer, Ends, Scene, poll_all};
use std::time::Duration;
use tithe_clock::Clock;
use tithe_engine::jobs::{JobCursor, JobUpdate};
use tithe_engine::store::RetentionStore;
use tithe_jobs::{JobRepository, StateName};
use tithe_lightning::{InvoiceRepository, TestPayer};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn the_text_of_an_expired_job_goes_at_once_and_the_job_after_the_retention() {
    let scene = Scene::open().await;
    let server = scene.server();
    let id = server.create("a long text of a stranger").await;
    let invoice = scene.job(id).await.evaluation_invoice().unwrap();
    server.engine.sweep().await.unwrap();
    assert_eq!(&*scene.job(id).await.request, "a long text of a stranger");
    scene.clock.advance(scene.settings.invoice_expiry + SECOND);
    poll_all(&server.engine).await;
    server.engine.sweep().await.unwrap();
    assert_eq!((scene.state(id).await, &*scene.job(id).await.request), (StateName::Expired, ""));
    scene.clock.advance(scene.settings.retention.saturating_sub(SECOND * 2));
    server.engine.sweep().await.unwrap();
    assert_eq!(scene.state(id).await, StateName::Expired);
    scene.clock.advance(SECOND * 3);
    server.engine.sweep().await.unwrap();
    assert_eq!(scene.store.job(id).await.unwrap(), None);
    assert_eq!(scene.store.invoice(invoice).await.unwrap(), None);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_that_a_late_payment_could_still_be_for() {
    let mut scene = Scene::open().await;
    scene.settings.retention = SECOND;
    let server = scene.server();
    let id = server.create("hello").await;
    let hash = scene.job(id).await.evaluation_invoice().unwrap();
    let slow = scene.wallet_whose_clock_stands().await;
    let payment_request = scene.invoice(hash).await.payment_request;
    scene.clock.advance(scene.settings.invoice_expiry + SECOND);
    poll_all(&server.engine).await;
    scene.clock.advance((scene.settings.late_payment_window * 2).saturating_sub(SECOND * 2));
    server.engine.sweep().await.unwrap();
    slow.pay(&payment_request.parse().unwrap()).await.unwrap();
    poll_all(&scene.server().engine).await;
    assert!(!scene.job(id).await.refund.amount().is_zero());
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_of_a_job_whose_steps_are_gone_sees_how_it_ended() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("hello").await;
    scene.pay_through(id).await;
    let later = scene.clock.now() + scene.settings.retention;
    assert!(scene.store.job_changes_purge(later, 1_000).await.unwrap() > 0);
    let mut follower = server.engine.jobs.follow(id, JobCursor::default()).await.unwrap();
    match follower.next().await.unwrap() {
        Some((_, JobUpdate::Step { change, view })) => {
            assert_eq!(change.state, StateName::Complete);
            assert_eq!(view.job, scene.job(id).await);
        }
        other => panic!("{other:?}"),
    }
    assert!(follower.next().await.unwrap().is_none());
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_poll_costs_what_is_new_and_not_what_has_ever_expired() {
    let scene = Scene::open().await;
    let server = scene.server();
    for n in 0..50 {
        server.create(&format!("question {n}")).await;
    }
    scene.clock.advance(scene.settings.invoice_expiry + SECOND);
    poll_all(&server.engine).await;
    let all = server.lookups();
    assert!(all >= 100, "each was looked up when it expired, and by the first poll for late payments: {all}");
    poll_all(&server.engine).await;
    assert_eq!(server.lookups(), all, "nothing is due");
    let mut looks = 0;
    for _ in 0..60 {
        scene.clock.advance(Duration::from_mins(1));
        let before = server.lookups();
        poll_all(&server.engine).await;
        looks += server.lookups() - before;
    }
    assert_eq!(looks, 50 * 3, "after a minute, ten minutes and an hour");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_does_not_wait_for_a_wallet_that_hangs() {
    let scene = Scene::open().await;
    let server = scene.server();
    let id = server.create("hello").await;
    let hash = scene.job(id).await.evaluation_invoice().unwrap();
    let hang = tithe_wallet_sim::Fault::Delay(Duration::from_hours(1));
    for _ in 0..2 {
        server.wallet_faults().queue(tithe_wallet_sim::Operation::InvoiceStatus, hang);
    }
    let began = tokio::time::Instant::now();
    server.engine.jobs.view(id).await.unwrap();
    scene.clock.advance(SECOND * 2);
    server.engine.payments.invoice(hash).await.unwrap();
    assert!(began.elapsed() <= SECOND * 3, "{:?}", began.elapsed());
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_credit_that_was_given_back_is_forgotten_after_a_day_and_one_that_was_taken_never() {
    let scene = scene_of_asks(5, None).await;
    let server = scene.server();
    ask(&server, of(1), None).await.unwrap();
    scene.backend.say_to_work(Answer::of(&[], Ends::Refused));
    assert!(ask(&server, of(1), None).await.is_err());
    let credits = async || server.engine.audit().await.unwrap().credits;
    scene.clock.advance(Duration::from_hours(24).saturating_sub(Duration::from_secs(1)));
    server.engine.sweep().await.unwrap();
    assert_eq!(credits().await, 2);
    scene.clock.advance(Duration::from_secs(2));
    server.engine.sweep().await.unwrap();
    assert_eq!(credits().await, 1);
    scene.finish().await;
}
