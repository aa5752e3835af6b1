//! Workers that were taken over: what they still do changes nothing.

use crate::scene::{Answer, Ends, Point, Scene};
use std::time::Duration;
use tithe_engine::jobs::{JobCursor, JobUpdate};
use tithe_jobs::{JobState, StateName};

/// The lease runs out while the worker lives on: the machine slept, or the clock was set.
async fn lease_runs_out(scene: &Scene) {
    scene.clock.advance(scene.settings.lease + Duration::from_secs(1));
    tokio::time::sleep(scene.settings.claim_interval * 2).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_the_job_was_taken_over_is_not_written() {
    let scene = Scene::open().await;
    let first = scene.started();
    let id = first.create("hello").await;
    scene.pay_evaluation(id).await;
    scene.backend.say_to_work(Answer::of(&["early"], Ends::Finished(None)));
    scene.backend.say_to_work(Answer::of(&["late"], Ends::Finished(None)));
    let mut early = scene.backend.gate(Point::WorkEnd);
    let mut late = scene.backend.gate(Point::WorkEnd);
    scene.pay_work(id).await;
    early.reached().await;
    let second = scene.started();
    lease_runs_out(&scene).await;
    late.reached().await;
    // Both are done; the one that was taken over is first to say so.
    early.open();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.state(id).await, StateName::Executing);
    late.open();
    let job = scene.until_state(id, StateName::Complete).await;
    let JobState::Complete { completion, .. } = &job.state else { panic!("{:?}", job.state) };
    assert_eq!(&*completion.text, "late");
    drop(second);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_was_taken_over_stops_by_itself() {
    let scene = Scene::open().await;
    let first = scene.started();
    let id = first.create("hello").await;
    scene.pay_evaluation(id).await;
    let mut gate = scene.backend.gate(Point::Delta(3));
    scene.pay_work(id).await;
    gate.reached().await;
    let _second = scene.started();
    lease_runs_out(&scene).await;
    scene.until_state(id, StateName::Complete).await;
    tokio::time::sleep(scene.settings.lease).await;
    assert_eq!(scene.backend.works(), 2);
    drop(gate);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_text_of_a_taken_over_attempt_never_mixes_with_the_next_one_on_the_same_server() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("hello").await;
    scene.pay_evaluation(id).await;
    scene.backend.say_to_work(Answer::of(&["old ", "OLD ", "OLD"], Ends::Finished(None)));
    scene.backend.say_to_work(Answer::of(&["new ", "text"], Ends::Finished(None)));
    let mut old = scene.backend.gate(Point::Delta(1));
    let mut new = scene.backend.gate(Point::Delta(1));
    let mut follower = server.engine.jobs.follow(id, JobCursor::default()).await.unwrap();
    let reading = tokio::spawn(async move {
        let (mut attempt, mut text) = (0, String::new());
        while let Some((cursor, update)) = follower.next().await.unwrap() {
            if let JobUpdate::Text(more) = update {
                if cursor.attempt != attempt {
                    (attempt, text) = (cursor.attempt, String::new());
                }
                text.push_str(&more);
            }
        }
        text
    });
    scene.pay_work(id).await;
    old.reached().await;
    lease_runs_out(&scene).await;
    new.reached().await;
    old.open();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.state(id).await, StateName::Executing);
    new.open();
    let job = scene.until_state(id, StateName::Complete).await;
    let JobState::Complete { completion, .. } = &job.state else { panic!("{:?}", job.state) };
    assert_eq!(&*completion.text, "new text");
    assert_eq!(reading.await.unwrap(), "new text");
    scene.finish().await;
}
