//! Following a job: its steps in order, its text as it comes.

use crate::scene::{Answer, Ends, Point, Scene, Server, poll_all};
use std::time::Duration;
use tithe_engine::EngineError;
use tithe_engine::jobs::{JobCursor, JobUpdate};
use tithe_jobs::{JobId, JobState, StateName};
use tokio::time::Instant;

/// Reads from `cursor` to the job's end.
async fn read(server: &Server, id: JobId, cursor: JobCursor) -> Vec<(JobCursor, JobUpdate)> {
    let mut follower = server.engine.jobs.follow(id, cursor).await.unwrap();
    let mut updates = Vec::new();
    while let Some(update) = follower.next().await.unwrap() {
        updates.push(update);
    }
    updates
}

fn states(updates: &[(JobCursor, JobUpdate)]) -> Vec<StateName> {
    let step = |(_, update): &(_, JobUpdate)| match update {
        JobUpdate::Step { change, .. } => Some(change.state),
        JobUpdate::Text(_) => None,
    };
    updates.iter().filter_map(step).collect()
}

/// The text of the last attempt: another attempt than before begins anew.
fn text(updates: &[(JobCursor, JobUpdate)]) -> String {
    let (mut attempt, mut text) = (0, String::new());
    for (cursor, update) in updates {
        if let JobUpdate::Text(more) = update {
            if cursor.attempt != attempt {
                (attempt, text) = (cursor.attempt, String::new());
            }
            text.push_str(more);
            assert_eq!(cursor.offset, text.len());
        }
    }
    text
}

const ALL: [StateName; 5] = [
    StateName::AwaitingEvalPayment,
    StateName::Evaluating,
    StateName::AwaitingWorkPayment,
    StateName::Executing,
    StateName::Complete,
];

async fn result(scene: &Scene, id: JobId) -> String {
    match scene.job(id).await.state {
        JobState::Complete { completion, .. } => completion.text.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn every_step_comes_in_order_and_the_text_adds_up_to_the_result() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("[sim:slow=40]").await;
    let (updates, _) = tokio::join!(read(&server, id, JobCursor::default()), scene.pay_through(id));
    assert_eq!(states(&updates), ALL);
    assert_eq!(text(&updates), result(&scene, id).await);
    let texts = updates.iter().filter(|(_, update)| matches!(update, JobUpdate::Text(_))).count();
    assert!(texts > 20, "the text came in {texts} parts");
    assert!(matches!(updates.last(), Some((_, JobUpdate::Step { .. }))));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_comes_back_gets_the_rest_from_any_cursor() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("[sim:slow=40]").await;
    // Somebody else who follows keeps the text where it is.
    let mut witness = server.engine.jobs.follow(id, JobCursor::default()).await.unwrap();
    let (updates, _) = tokio::join!(read(&server, id, JobCursor::default()), scene.pay_through(id));
    let whole = result(&scene, id).await;
    for (at, (cursor, _)) in updates.iter().enumerate() {
        let rest = read(&server, id, *cursor).await;
        assert_eq!(states(&rest), states(&updates[at + 1..]), "from {cursor:?}");
        let read_so_far = if cursor.attempt == 0 { 0 } else { cursor.offset };
        let more: String = rest
            .iter()
            .map(|(_, update)| match update {
                JobUpdate::Text(more) => more.as_str(),
                JobUpdate::Step { .. } => "",
            })
            .collect();
        let ended = cursor.revision == updates.last().unwrap().0.revision;
        assert!(ended || more == whole[read_so_far..], "from {cursor:?}: {more:?}");
    }
    while witness.next().await.unwrap().is_some() {}
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_comes_in_the_middle_reads_the_text_from_its_beginning() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("hello").await;
    let mut gate = scene.backend.gate(Point::Delta(9));
    scene.pay_evaluation(id).await;
    scene.pay_work(id).await;
    gate.reached().await;
    let reading = read(&server, id, JobCursor::default());
    let (updates, ()) = tokio::join!(reading, async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        gate.open();
    });
    assert_eq!(states(&updates), ALL);
    assert_eq!(text(&updates), result(&scene, id).await);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_attempt_at_the_work_begins_the_text_anew() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("hello").await;
    scene.backend.say_to_work(Answer::of(&["Once ", "upon "], Ends::CutOff));
    scene.backend.say_to_work(Answer::of(&["It ", "was ", "night."], Ends::Finished(None)));
    let (updates, _) = tokio::join!(read(&server, id, JobCursor::default()), scene.pay_through(id));
    assert_eq!(states(&updates), ALL);
    assert_eq!(text(&updates), "It was night.");
    let first = |(cursor, update): &(JobCursor, JobUpdate)| {
        matches!(update, JobUpdate::Text(text) if text.starts_with("Once")).then_some(cursor.attempt)
    };
    let first = updates.iter().find_map(first).unwrap();
    assert!(updates.last().unwrap().0.attempt > first, "another attempt has another number");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_on_another_server_hears_of_every_step_at_once() {
    let scene = Scene::open().await;
    let (server, other) = (scene.started(), scene.started());
    let id = server.create("hello").await;
    let began = Instant::now();
    let (updates, _) = tokio::join!(read(&other, id, JobCursor::default()), scene.pay_through(id));
    assert_eq!(states(&updates), ALL);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}: nobody told it", began.elapsed());
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn followers_on_other_servers_read_the_text_as_it_comes_and_a_late_one_from_its_beginning() {
    let scene = Scene::open().await;
    let worker = scene.started();
    let id = worker.create("[sim:slow=100]").await;
    scene.pay_evaluation(id).await;
    scene.pay_work(id).await;
    scene.until_state(id, StateName::Executing).await;
    // They claim no jobs themselves: the worker has it already.
    let (early, late) = (scene.started(), scene.started());
    let half_way = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        read(&late, id, JobCursor::default()).await
    };
    let (early, late) = tokio::join!(read(&early, id, JobCursor::default()), half_way);
    let whole = result(&scene, id).await;
    for updates in [early, late] {
        let read = text(&updates);
        assert!(whole.starts_with(&read), "{read:?} is not the beginning of {whole:?}");
        assert!(read.len() * 10 > whole.len() * 8, "only {read:?} of {whole:?} was told");
    }
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn text_is_told_only_for_as_long_as_somebody_elsewhere_follows() {
    let scene = Scene::open().await;
    let worker = scene.started();
    let id = worker.create("[sim:slow=500]").await;
    scene.pay_evaluation(id).await;
    scene.pay_work(id).await;
    scene.until_state(id, StateName::Executing).await;
    assert_eq!(scene.memory.texts_published(), 0);
    let other = scene.started();
    let mut follower = other.engine.jobs.follow(id, JobCursor::default()).await.unwrap();
    while !matches!(follower.next().await.unwrap(), Some((_, JobUpdate::Text(_)))) {}
    drop(follower);
    tokio::time::sleep(Duration::from_secs(7)).await;
    let told = scene.memory.texts_published();
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(scene.memory.texts_published(), told, "nobody listens any more");
    scene.until_state(id, StateName::Complete).await;
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_looks_when_something_may_have_been_missed() {
    let scene = Scene::open().await;
    let (server, other) = (scene.server(), scene.started());
    let id = server.create("hello").await;
    let mut follower = other.engine.jobs.follow(id, JobCursor::default()).await.unwrap();
    follower.next().await.unwrap().unwrap();
    scene.pay_evaluation(id).await;
    server.engine.payments.poll().await.unwrap();
    scene.memory.lose_notifications();
    let looked = Instant::now();
    let Some((_, JobUpdate::Step { change, .. })) = follower.next().await.unwrap() else { panic!("no step") };
    assert_eq!(change.state, StateName::Evaluating);
    assert!(looked.elapsed() < Duration::from_secs(1), "{:?}", looked.elapsed());
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_nobody_tells_anything_looks_by_itself() {
    let scene = Scene::open().await;
    let (server, other) = (scene.started(), scene.server());
    let id = server.create("hello").await;
    let (updates, _) = tokio::join!(read(&other, id, JobCursor::default()), scene.pay_through(id));
    assert_eq!(states(&updates), ALL);
    assert_eq!(text(&updates), "", "the text is on the server that works");
    let Some((_, JobUpdate::Step { view, .. })) = updates.last() else { panic!("{updates:?}") };
    assert!(matches!(view.job.state, JobState::Complete { .. }));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_taken_while_the_follower_reads_is_told_at_once() {
    let scene = Scene::open().await;
    let server = scene.server();
    let id = server.create("hello").await;
    let mut follower = server.engine.jobs.follow(id, JobCursor::default()).await.unwrap();
    follower.next().await.unwrap().unwrap();
    let mut gate = scene.store_faults.gate_changes();
    let (update, paid) = tokio::join!(follower.next(), async {
        gate.reached().await;
        scene.pay_evaluation(id).await;
        server.engine.payments.poll().await.unwrap();
        let paid = Instant::now();
        gate.open();
        paid
    });
    let Some((_, JobUpdate::Step { change, .. })) = update.unwrap() else { panic!("no step") };
    assert_eq!(change.state, StateName::Evaluating);
    assert!(paid.elapsed() < Duration::from_millis(500), "{:?}", paid.elapsed());
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn following_survives_an_outage_of_the_store() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("hello").await;
    let mut follower = server.engine.jobs.follow(id, JobCursor::default()).await.unwrap();
    scene.store_faults.take_away();
    assert!(matches!(follower.next().await, Err(EngineError::Busy)));
    scene.store_faults.mend();
    scene.pay_through(id).await;
    let mut updates = Vec::new();
    while let Some(update) = follower.next().await.unwrap() {
        updates.push(update);
    }
    assert_eq!(states(&updates), ALL);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn money_that_arrives_after_the_end_is_told_to_who_comes_back() {
    let scene = Scene::open().await;
    let server = scene.server();
    let id = server.create("hello").await;
    let slow = scene.wallet_whose_clock_stands().await;
    scene.clock.advance(scene.settings.invoice_expiry + Duration::from_secs(1));
    server.engine.payments.poll().await.unwrap();
    let updates = read(&server, id, JobCursor::default()).await;
    assert_eq!(states(&updates), [StateName::AwaitingEvalPayment, StateName::Expired]);
    let end = updates.last().unwrap().0;
    assert_eq!(read(&server, id, end).await, []);
    let invoice = scene.invoice(scene.job(id).await.evaluation_invoice().unwrap()).await;
    tithe_lightning::TestPayer::pay(&slow, &invoice.payment_request.parse().unwrap()).await.unwrap();
    poll_all(&server.engine).await;
    assert_eq!(states(&read(&server, id, end).await), [StateName::Expired]);
    let nobody = JobId(uuid::Uuid::nil());
    let missing = server.engine.jobs.follow(nobody, JobCursor::default()).await;
    assert!(matches!(missing, Err(EngineError::NotFound { kind: "job", .. })));
    scene.finish().await;
}
