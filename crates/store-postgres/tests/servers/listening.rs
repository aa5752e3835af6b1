//! Servers hear of each other's steps.

use crate::{client, commit, database, eventually, server};
use futures_util::StreamExt;
use std::time::Duration;
use tithe_engine::store::{BatchStore, PeerEvent, Store, TextPart};
use tithe_jobs::{JobChange, StateName};
use tithe_store_suite::scene::{START, Stage, job_at, job_id, pay};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_one_server_is_heard_by_the_others_and_not_by_itself() {
    let database = database().await;
    let (here, there) = (server(database.url()).await, server(database.url()).await);
    let (mut first, mut second) = (here.peer_events(), there.peer_events());
    // Both listen now: what came before was missed.
    assert_eq!(first.next().await, Some(PeerEvent::Resync));
    assert_eq!(second.next().await, Some(PeerEvent::Resync));
    let store: &dyn Store = &here;
    job_at(store, 1, Stage::Evaluating, START).await;
    let heard = async |hears: &mut futures_util::stream::BoxStream<'static, PeerEvent>| -> Vec<JobChange> {
        match tokio::time::timeout(SOON, hears.next()).await.unwrap().unwrap() {
            PeerEvent::Steps(steps) => steps,
            other => panic!("{other:?}"),
        }
    };
    let mut steps = Vec::new();
    while steps.last().is_none_or(|step: &JobChange| step.state != StateName::Evaluating) {
        steps.extend(heard(&mut second).await);
    }
    assert!(steps.iter().all(|step| step.job == job_id(1)) && steps.is_sorted_by_key(|step| step.revision));
    // The first thing heard here is not one of our own steps.
    let store: &dyn Store = &there;
    job_at(store, 2, Stage::Invoiced, START).await;
    assert!(heard(&mut first).await.iter().all(|step| step.job == job_id(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_committed_is_not_heard() {
    let database = database().await;
    let (here, there) = (server(database.url()).await, server(database.url()).await);
    let mut hears = there.peer_events();
    assert_eq!(hears.next().await, Some(PeerEvent::Resync));
    let store: &dyn Store = &here;
    job_at(store, 1, Stage::Invoiced, START).await;
    // The payment is known already: nothing is written, nothing told.
    let paid = pay(1, tithe_lightning::Purpose::JobEval, START);
    commit(&here, paid.clone()).await.unwrap().unwrap();
    commit(&here, paid).await.unwrap().unwrap();
    job_at(store, 2, Stage::Invoiced, START).await;
    let mut of_the_first = 0;
    loop {
        let PeerEvent::Steps(steps) = tokio::time::timeout(SOON, hears.next()).await.unwrap().unwrap() else {
            panic!("nothing was missed");
        };
        of_the_first += steps.iter().filter(|step| step.job == job_id(1)).count();
        if steps.iter().any(|step| step.job == job_id(2)) {
            break;
        }
    }
    assert_eq!(of_the_first, store.job_changes(job_id(1), 0).await.unwrap().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_not_connected_is_told_that_something_was_missed() {
    let database = database().await;
    let (here, there) = (server(database.url()).await, server(database.url()).await);
    let mut hears = there.peer_events();
    assert_eq!(hears.next().await, Some(PeerEvent::Resync));
    let watch = client(database.url()).await;
    let listeners = "SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE '%LISTEN%' AND state = 'idle' AND pid <> pg_backend_pid()";
    let listener = async || watch.query_opt(listeners, &[]).await.unwrap().map(|row| row.get::<_, i32>(0));
    let first = listener().await.unwrap();
    watch.query_one("SELECT pg_terminate_backend($1)", &[&first]).await.unwrap();
    assert_eq!(tokio::time::timeout(SOON, hears.next()).await.unwrap(), Some(PeerEvent::Resync));
    // It listens again.
    eventually("the listener", || async { listener().await.is_some_and(|second| second != first) }).await;
    let store: &dyn Store = &here;
    job_at(store, 1, Stage::Invoiced, START).await;
    let hearing = async {
        while let Some(news) = hears.next().await {
            if matches!(news, PeerEvent::Steps(_)) {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, hearing).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn text_and_work_that_is_handed_back_are_told_to_the_others() {
    let database = database().await;
    let (here, there) = (server(database.url()).await, server(database.url()).await);
    let mut hears = there.peer_events();
    assert_eq!(hears.next().await, Some(PeerEvent::Resync));
    let text = "'quoted' ☃\n".repeat(500);
    let part = TextPart { job: job_id(1), attempt: 2, offset: 3, text };
    let wanted = PeerEvent::TextWanted { job: job_id(1), from: 9 };
    for news in [wanted, PeerEvent::Text(part), PeerEvent::HandedBack] {
        here.publish(&news).await.unwrap();
        assert_eq!(tokio::time::timeout(SOON, hears.next()).await.unwrap(), Some(news));
    }
}
