//! Steps that fail are tried again, so often and no more.

use crate::scene::{Answer, Ends, Moved, Point, Scene};
use std::time::Duration;
use tithe_jobs::{FinishReason, Job, JobState, StateName};

/// The job failed after its evaluation: all but the fee is refunded.
async fn assert_work_is_owed_back(scene: &Scene, job: &Job) {
    let JobState::Failed { work: Some(work), .. } = &job.state else { panic!("{:?}", job.state) };
    let (fee, owed) = (job.evaluation_fee().to_msats().get(), work.amount.to_msats().get());
    assert_eq!(scene.moved(job.id).await, Moved { paid: fee + owed, charged: fee, owed, ..Moved::default() });
    assert_eq!(job.refund.amount(), work.amount);
}

#[tokio::test(start_paused = true)]
async fn work_that_always_fails_is_tried_as_often_as_set_and_then_owed_back() {
    for request in ["[sim:fail]", "[sim:die]", "[sim:stall]"] {
        for max_attempts in [1, 5] {
            let mut scene = Scene::open().await;
            scene.settings.max_attempts = max_attempts;
            let server = scene.started();
            let id = server.create(request).await;
            let job = scene.pay_through(id).await;
            assert_work_is_owed_back(&scene, &job).await;
            // Work that had begun to answer is run again once, and so is work that may have begun.
            let most = if request == "[sim:fail]" { max_attempts } else { 2 };
            assert_eq!(scene.backend.works(), max_attempts.min(most), "{request}");
            scene.finish().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_evaluation_that_always_fails_is_refunded_in_full() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("[sim:fail-evaluation]").await;
    let job = scene.pay_through(id).await;
    assert!(matches!(job.state, JobState::Failed { work: None, .. }), "{:?}", job.state);
    let fee = job.evaluation_fee().to_msats().get();
    assert_eq!(scene.moved(id).await, Moved { paid: fee, owed: fee, ..Moved::default() });
    assert_eq!(scene.backend.evaluations(), scene.settings.max_attempts);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_evaluation_that_cannot_be_read_is_repeated_once_and_earns_its_fee() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("[sim:nonsense-evaluation]").await;
    let job = scene.pay_through(id).await;
    let JobState::Failed { work: None, message, .. } = &job.state else { panic!("{:?}", job.state) };
    assert!(message.contains("no clear answer"), "{message}");
    let fee = job.evaluation_fee().to_msats().get();
    assert_eq!(scene.moved(id).await, Moved { paid: fee, charged: fee, ..Moved::default() });
    assert_eq!(scene.backend.evaluations(), 2);

    let id = server.create("hello").await;
    scene.backend.say_to_evaluation(Answer::of(&["perhaps"], Ends::Finished(None)));
    assert_eq!(scene.pay_through(id).await.state.name(), StateName::Complete);
    assert_eq!(scene.backend.evaluations(), 4);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_backend_refuses_fails_at_once() {
    let scene = Scene::open().await;
    let server = scene.started();
    let work = server.create("[sim:refuse]").await;
    let job = scene.pay_through(work).await;
    assert_work_is_owed_back(&scene, &job).await;
    assert_eq!(scene.backend.works(), 1);

    scene.backend.say_to_evaluation(Answer::of(&[], Ends::Refused));
    let evaluation = server.create("hello").await;
    let job = scene.pay_through(evaluation).await;
    assert_eq!(job.refund.amount(), job.evaluation_fee());
    assert_eq!(scene.backend.evaluations(), 2);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_recovers_in_time_costs_no_job() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("hello").await;
    scene.backend.say_to_evaluation(Answer::of(&[], Ends::Never));
    scene.backend.say_to_evaluation(Answer::of(&[], Ends::Misconfigured));
    scene.backend.say_to_evaluation(Answer::of(&["perhaps"], Ends::Finished(None)));
    for ends in [Ends::CutOff, Ends::Misconfigured] {
        scene.backend.say_to_work(Answer::of(&["half an "], ends));
    }
    let job = scene.pay_through(id).await;
    let JobState::Complete { completion, .. } = &job.state else { panic!("{:?}", job.state) };
    assert!(completion.text.starts_with("You asked"), "nothing is left of earlier attempts");
    assert_eq!((scene.backend.evaluations(), scene.backend.works()), (4, 3));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_away_costs_no_attempt_and_no_job() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("hello").await;
    let away = scene.settings.max_attempts * 4;
    scene.backend.sim.fail_next(away);
    scene.pay_evaluation(id).await;
    scene.until_state(id, StateName::AwaitingWorkPayment).await;
    scene.backend.sim.fail_next(away);
    assert_eq!(scene.pay_through_work(id).await.state.name(), StateName::Complete);
    assert_eq!((scene.backend.evaluations(), scene.backend.works()), (away + 1, away + 1));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_backend_never_comes_back_ends_after_a_while() {
    let mut scene = Scene::open().await;
    scene.settings.outage_patience = Duration::from_mins(15);
    let server = scene.started();
    let id = server.create("hello").await;
    scene.pay_evaluation(id).await;
    scene.until_state(id, StateName::AwaitingWorkPayment).await;
    // It asks for an hour each time; it is asked again after ten minutes.
    for _ in 0..9 {
        scene.backend.say_to_work(Answer::of(&[], Ends::Away(Duration::from_hours(1))));
    }
    let job = scene.pay_through_work(id).await;
    assert_work_is_owed_back(&scene, &job).await;
    assert_eq!(scene.backend.works(), 3, "at once, after ten minutes, and when the time is over");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn one_jobs_failures_cost_another_nothing() {
    let scene = Scene::open().await;
    let server = scene.started();
    let poison = server.create("[sim:fail]").await;
    let healthy = server.create("hello").await;
    for id in [poison, healthy] {
        scene.pay_evaluation(id).await;
        scene.until_state(id, StateName::AwaitingWorkPayment).await;
    }
    scene.pay_work(poison).await;
    scene.pay_work(healthy).await;
    scene.until_state(healthy, StateName::Complete).await;
    scene.until_state(poison, StateName::Failed).await;
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn work_that_runs_out_of_time_is_cut_and_charged_for_what_was_delivered() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("Tell me a story.").await;
    scene.backend.say_to_work(Answer::of(&["Once upon a time "], Ends::Silent));
    let job = scene.pay_through(id).await;
    let JobState::Complete { completion, .. } = &job.state else { panic!("{:?}", job.state) };
    assert_eq!((&*completion.text, completion.finish), ("Once upon a time ", FinishReason::Length));
    assert!(completion.usage.output_tokens > 0 && completion.settlement.charged.get() > 0);
    assert_eq!(scene.backend.works(), 1, "an answer that a limit of ours has cut is not generated again");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn work_that_takes_longer_than_the_lease_stays_with_who_lives() {
    let scene = Scene::open().await;
    let servers = [scene.started(), scene.started()];
    let id = servers[0].create("hello").await;
    let mut evaluation = scene.backend.gate(Point::Evaluation);
    let mut work = scene.backend.gate(Point::Delta(3));
    scene.pay_evaluation(id).await;
    evaluation.reached().await;
    tokio::time::sleep(scene.settings.lease * 5).await;
    evaluation.open();
    scene.pay_work(id).await;
    work.reached().await;
    tokio::time::sleep(scene.settings.lease * 5).await;
    work.open();
    scene.until_state(id, StateName::Complete).await;
    assert_eq!((scene.backend.evaluations(), scene.backend.works()), (1, 1));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn attempts_wait_longer_each_time() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("[sim:fail]").await;
    scene.pay_evaluation(id).await;
    scene.pay_work(id).await;
    let paid = tokio::time::Instant::now();
    scene.until_state(id, StateName::Failed).await;
    // 0.5 + 1 + 2 + 4 seconds, each found by the next look.
    assert!(paid.elapsed() >= Duration::from_millis(7_500), "{:?}", paid.elapsed());
    assert!(paid.elapsed() < Duration::from_secs(15), "{:?}", paid.elapsed());
    scene.finish().await;
}
