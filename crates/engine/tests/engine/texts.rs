//! Deletions of a customer's texts that were asked for while work of that customer ran.

use crate::asks::{ask, install, of, plain, scene as scene_of_asks};
use crate::scene::{KEY_LEASE, Point, Scene, Server, eventually};
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::EngineError;
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::records::{
    IdempotencyId, IdempotencyRequest, KeyOrigin, StoredResponse, TextDeletion, TextOwner,
};
use tithe_engine::sessions::{FinishedRequest, NewWork, RenderRequest, SessionAccess};
use tithe_engine::store::TextStore;
use tithe_jobs::StateName;
use tithe_sessions::SessionId;

#[derive(Debug)]
struct Plainly;

impl RenderRequest for Plainly {
    fn render(&self, finished: &FinishedRequest) -> StoredResponse {
        StoredResponse { status: 200, body: finished.request.state_name().to_string() }
    }
}

/// A keyed request of a payer.
fn keyed(payer: &str) -> IdempotencyRequest {
    let id = IdempotencyId { scope: payer.to_owned(), key: "k".to_owned() };
    IdempotencyRequest {
        id,
        fingerprint: [7; 32],
        keep: Duration::from_hours(24),
        lease: KEY_LEASE,
        origin: KeyOrigin::Client,
    }
}

async fn ask_of_session(server: &Server, session: SessionId) -> Result<KeyedResponse, EngineError> {
    let access = SessionAccess { session, keys: vec![], expires_at: None, models: None };
    let key = keyed(&access.scope());
    let new = plain("a secret");
    let new = NewWork {
        access,
        id: None,
        prompt: new.prompt,
        model: None,
        max_output_tokens: None,
        client: new.client,
        replenish: None,
    };
    server.engine.sessions.request(new, Some(key), Arc::new(Plainly)).await
}

async fn deletion(scene: &Scene, owner: TextOwner) -> TextDeletion {
    scene.store.text_deletion(&owner).await.unwrap().unwrap()
}

/// Forgets an owner whose work runs: the deletion stays open, whichever server sweeps.
async fn forget_while_running(scene: &Scene, server: &Server, owner: TextOwner) {
    let forgotten = server.engine.texts.forget(owner).await.unwrap();
    assert!(forgotten.now.running > 0 && forgotten.now.ended() == 0, "{forgotten:?}");
    let elsewhere = scene.server();
    for sweeping in [server, &elsewhere] {
        sweeping.engine.sweep().await.unwrap();
        assert_eq!(deletion(scene, owner).await.finished_at, None);
    }
}

#[tokio::test(start_paused = true)]
async fn the_request_of_a_session_that_ran_is_deleted_once_it_has_ended() {
    let scene = Scene::open().await;
    let server = Arc::new(scene.server());
    let opened = server.session_with_return("alice@example.com", 1_000).await;
    scene.pay(opened.invoice).await;
    scene.clock.advance(Duration::from_secs(1));
    server.session_active(opened.id).await;
    let mut gate = scene.backend.gate(Point::Work);
    let running = tokio::spawn({
        let server = server.clone();
        async move { ask_of_session(&server, opened.id).await }
    });
    gate.reached().await;
    let owner = TextOwner::Session(opened.id);
    forget_while_running(&scene, &server, owner).await;
    gate.open();
    // The customer still gets the answer.
    assert_eq!(running.await.unwrap().unwrap().response.body, "complete");
    assert_eq!(deletion(&scene, owner).await.finished_at, None);
    // Another server goes on.
    let elsewhere = scene.server();
    elsewhere.engine.sweep().await.unwrap();
    let over = deletion(&scene, owner).await;
    assert!(over.finished_at.is_some(), "{over:?}");
    assert_eq!((over.deleted.session_requests, over.deleted.responses), (1, 1), "{over:?}");
    let found = scene.store.texts_found(&owner, over.requested_at).await.unwrap();
    assert_eq!((found.ended(), found.running), (0, 0));
    let again = ask_of_session(&server, opened.id).await.unwrap();
    assert!(again.replayed && again.response.is_deleted(), "{again:?}");
    assert_eq!(scene.backend.works(), 1);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_ran_is_deleted_once_it_has_ended() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("a secret").await;
    scene.pay_evaluation(id).await;
    let mut gate = scene.backend.gate(Point::Work);
    scene.pay_work(id).await;
    gate.reached().await;
    let owner = TextOwner::Job(id);
    forget_while_running(&scene, &server, owner).await;
    assert_eq!(&*scene.job(id).await.request, "a secret", "it is needed");
    gate.open();
    let over = eventually("the deletion is over", async || {
        Some(deletion(&scene, owner).await).filter(|deletion| deletion.finished_at.is_some())
    })
    .await;
    assert_eq!(over.deleted.jobs, 1, "{over:?}");
    let job = scene.job(id).await;
    assert_eq!((job.state.name(), &*job.request), (StateName::Complete, ""));
    assert!(job.text_deleted_at.is_some());
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_plain_request_of_an_install_that_ran_is_deleted_once_it_has_ended() {
    let scene = scene_of_asks(5, None).await;
    let server = Arc::new(scene.server());
    let payer = format!("install:{}", install(1));
    let mut gate = scene.backend.gate(Point::Work);
    let running = tokio::spawn({
        let (server, key) = (server.clone(), keyed(&payer));
        async move { server.engine.asks.ask(of(1), Some(key), Arc::new(crate::asks::Plainly)).await }
    });
    gate.reached().await;
    let owner = TextOwner::Install(install(1));
    forget_while_running(&scene, &server, owner).await;
    gate.open();
    assert_eq!(running.await.unwrap().unwrap().response.status, 200);
    server.engine.sweep().await.unwrap();
    let over = deletion(&scene, owner).await;
    assert!(over.finished_at.is_some() && over.deleted.responses == 1, "{over:?}");
    let again = server.engine.asks.ask(of(1), Some(keyed(&payer)), Arc::new(crate::asks::Plainly)).await;
    assert!(again.unwrap().response.is_deleted());
    // What is asked for later has nothing to do with it.
    assert_eq!(ask(&server, of(1), None).await.unwrap().response.status, 200);
    assert_eq!(deletion(&scene, owner).await, over);
    scene.finish().await;
}

/// A request that has failed may be repeated under its key for a day, and would store a response then: the deletion waits for that.
#[tokio::test(start_paused = true)]
async fn work_that_fails_keeps_the_deletion_open_for_as_long_as_it_may_be_repeated() {
    let scene = Scene::open().await;
    let server = Arc::new(scene.server());
    let opened = server.session_with_return("alice@example.com", 1_000).await;
    scene.pay(opened.invoice).await;
    scene.clock.advance(Duration::from_secs(1));
    server.session_active(opened.id).await;
    let mut gate = scene.backend.gate(Point::Work);
    scene.backend.say_to_work(crate::scene::Answer::of(&["a secret "], crate::scene::Ends::CutOff));
    let running = tokio::spawn({
        let server = server.clone();
        async move { ask_of_session(&server, opened.id).await }
    });
    gate.reached().await;
    let owner = TextOwner::Session(opened.id);
    forget_while_running(&scene, &server, owner).await;
    gate.open();
    assert!(matches!(running.await.unwrap(), Err(EngineError::WorkFailed)));
    server.engine.sweep().await.unwrap();
    let open = deletion(&scene, owner).await;
    assert_eq!((open.finished_at, open.deleted.session_requests), (None, 1), "its own text is gone");
    // The repetition is answered, and its response is deleted.
    assert_eq!(ask_of_session(&server, opened.id).await.unwrap().response.body, "complete");
    server.engine.sweep().await.unwrap();
    let over = deletion(&scene, owner).await;
    assert!(over.finished_at.is_some() && over.deleted.responses == 1, "{over:?}");
    assert!(ask_of_session(&server, opened.id).await.unwrap().response.is_deleted());
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn work_that_failed_and_was_not_repeated_ends_the_deletion_when_its_key_expires() {
    let scene = Scene::open().await;
    let server = Arc::new(scene.server());
    let opened = server.session_with_return("alice@example.com", 1_000).await;
    scene.pay(opened.invoice).await;
    scene.clock.advance(Duration::from_secs(1));
    server.session_active(opened.id).await;
    scene.backend.say_to_work(crate::scene::Answer::of(&["a secret "], crate::scene::Ends::CutOff));
    assert!(matches!(ask_of_session(&server, opened.id).await, Err(EngineError::WorkFailed)));
    let owner = TextOwner::Session(opened.id);
    server.engine.texts.forget(owner).await.unwrap();
    assert_eq!(deletion(&scene, owner).await.finished_at, None);
    scene.clock.advance(Duration::from_hours(24) + KEY_LEASE);
    server.engine.sweep().await.unwrap();
    assert!(deletion(&scene, owner).await.finished_at.is_some());
    scene.finish().await;
}
