//! Idempotency keys: the same request twice is one job.

use crate::scene::{Op, Scene, When, asking, eventually, job_of, keyed};
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::Clock;
use tithe_engine::EngineError;
use tithe_engine::identities::{AuthNonceConsume, RequestSignature};
use tithe_engine::records::{AuthNonceId, AuthNonceKind, StoredResponse};
use tithe_jobs::StateName;
use tithe_wallet_sim::{Fault, Operation};

const KEY_LEASE: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn the_job_of_a_server_that_died_before_its_invoice_is_taken_up_when_the_key_is_free() {
    for when in [When::Before, When::After] {
        let scene = Scene::open().await;
        let dead = Arc::new(scene.server());
        dead.power.cut_at(Op::Mint, 1, when);
        let asked = tokio::spawn({
            let dead = dead.clone();
            async move { dead.create_keyed("hello", "k").await }
        });
        dead.power.goes_off().await;
        let server = scene.started();
        let early = server.create_keyed("hello", "k").await;
        assert!(matches!(early, Err(EngineError::RequestInProgress)), "{early:?}");
        scene.clock.advance(KEY_LEASE.saturating_sub(Duration::from_secs(1)));
        let early = server.create_keyed("hello", "k").await;
        assert!(matches!(early, Err(EngineError::RequestInProgress)), "{early:?}");
        scene.clock.advance(Duration::from_secs(1));
        let answered = server.create_keyed("hello", "k").await.unwrap();
        assert!(!answered.replayed);
        assert_eq!(server.engine.audit().await.unwrap().jobs, 1);
        // The first one lives after all: its customer is told of the same invoice.
        dead.power.mend();
        let late = asked.await.unwrap().unwrap();
        assert_eq!(late.response, answered.response);
        assert_eq!(scene.pay_through(job_of(&answered)).await.state.name(), StateName::Complete);
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_the_key_is_free_at_once() {
    let scene = Scene::open().await;
    let server = scene.server();
    server.wallet_faults().queue(Operation::InvoiceCreate, Fault::Fail);
    assert!(matches!(server.create_keyed("hello", "k").await, Err(EngineError::NoWallet)));
    let answered = server.create_keyed("hello", "k").await.unwrap();
    assert_eq!(server.engine.audit().await.unwrap().jobs, 1);
    let again = server.create_keyed("hello", "k").await.unwrap();
    assert_eq!((&again.response, again.replayed), (&answered.response, true));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_given_again_though_nothing_can_be_priced() {
    let scene = Scene::open().await;
    let server = scene.server();
    let answered = server.create_keyed("hello", "k").await.unwrap();
    scene.prices.set(None);
    let again = server.create_keyed("hello", "k").await.unwrap();
    assert_eq!((again.response, again.replayed), (answered.response, true));
    assert!(matches!(server.create_keyed("hello", "other").await, Err(EngineError::NoPrice(_))));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_job_was_given_up_begins_anew_once() {
    let scene = Scene::open().await;
    let server = scene.server();
    server.wallet_faults().queue(Operation::InvoiceCreate, Fault::Fail);
    assert!(matches!(server.create_keyed("hello", "k").await, Err(EngineError::NoWallet)));
    scene.clock.advance(Duration::from_mins(5));
    server.engine.sweep().await.unwrap();
    let answered = server.create_keyed("hello", "k").await.unwrap();
    let again = server.create_keyed("hello", "k").await.unwrap();
    assert_eq!((&again.response, again.replayed), (&answered.response, true));
    assert_eq!(server.engine.audit().await.unwrap().jobs, 2, "the one that was given up, and the new one");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_answers_one_request_only() {
    let scene = Scene::open().await;
    let server = scene.server();
    server.create_keyed("hello", "k").await.unwrap();
    let other = server.create_keyed("good bye", "k").await;
    assert!(matches!(other, Err(EngineError::IdempotencyKeyReused)));
    assert_eq!(server.engine.audit().await.unwrap().jobs, 1);
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_equal_requests_at_once_on_two_servers_one_makes_a_job() {
    let scene = Scene::open().await;
    let servers = [Arc::new(scene.server()), Arc::new(scene.server())];
    let mut asked = tokio::task::JoinSet::new();
    for n in 0..32 {
        let server = servers[n % 2].clone();
        asked.spawn(async move { server.create_keyed("hello", "k").await });
    }
    let mut new = 0;
    while let Some(answer) = asked.join_next().await {
        match answer.unwrap() {
            Ok(answered) => new += usize::from(!answered.replayed),
            Err(EngineError::RequestInProgress) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(new, 1);
    assert_eq!(servers[0].engine.audit().await.unwrap().jobs, 1);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_goes_away_before_the_invoice_is_written_leaves_the_key_to_its_lease() {
    let scene = Scene::open().await;
    let server = scene.server();
    scene.store_faults.commits_unavailable("invoice_issue", 1);
    scene.store_faults.commits_unavailable("idempotency_release", 1);
    assert!(matches!(server.create_keyed("hello", "k").await, Err(EngineError::Busy)));
    assert!(matches!(server.create_keyed("hello", "k").await, Err(EngineError::RequestInProgress)));
    scene.clock.advance(KEY_LEASE);
    server.create_keyed("hello", "k").await.unwrap();
    assert_eq!(server.engine.audit().await.unwrap().jobs, 1);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_is_no_way_around_the_limit_of_unpaid_invoices() {
    let mut scene = Scene::open().await;
    scene.settings.max_unpaid_invoices = 2;
    let server = scene.server();
    let first = server.create_keyed("one", "1").await.unwrap();
    server.create("two").await;
    assert!(matches!(server.create_with(asking("three"), None).await, Err(EngineError::TooManyUnpaid)));
    for key in ["3", "4", "4"] {
        let refused = server.create_keyed("three", key).await;
        assert!(matches!(refused, Err(EngineError::TooManyUnpaid)), "{refused:?}");
    }
    let again = server.create_keyed("one", "1").await.unwrap();
    assert_eq!(again.response, first.response, "what was answered before is answered again");
    scene.pay_evaluation(job_of(&first)).await;
    server.engine.payments.poll().await.unwrap();
    server.create_keyed("three", "3").await.unwrap();
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn work_of_other_kinds_is_done_once_for_its_key_and_again_when_it_failed() {
    let scene = Scene::open().await;
    let server = scene.server();
    let answer = |body: &str| StoredResponse { status: 200, body: body.to_owned() };
    let once = async |body| {
        let work = async {
            match body {
                Some(body) => Ok(answer(body)),
                None => Err(EngineError::NoWallet),
            }
        };
        server.engine.idempotency.once(Some(keyed("ask", "k")), RequestSignature(None), work).await
    };
    assert!(matches!(once(None).await, Err(EngineError::NoWallet)));
    assert_eq!(once(Some("first")).await.unwrap().response, answer("first"));
    let again = once(Some("second")).await.unwrap();
    assert_eq!((again.response, again.replayed), (answer("first"), true));
    scene.clock.advance(Duration::from_hours(24));
    let fresh = eventually("the key is forgotten", async || once(Some("third")).await.ok()).await;
    assert_eq!(fresh.response, answer("third"));
    scene.finish().await;
}

/// The nonce of a login is consumed in the command that begins its key: whoever dies in between has not used it up.
#[tokio::test(start_paused = true)]
async fn the_nonce_of_a_login_whose_server_died_is_good_for_the_same_key_and_no_other() {
    let scene = Scene::open().await;
    let server = scene.server();
    let pubkey = tithe_trust::SecretKey::from_bytes([7; 32]).unwrap().pubkey();
    let expires_at = scene.clock.now() + Duration::from_mins(5);
    let nonce =
        AuthNonceConsume { nonce: AuthNonceId([9; 32]), kind: AuthNonceKind::Login, pubkey, expires_at };
    let signature = RequestSignature(Some(nonce));
    let response = || Ok(StoredResponse { status: 200, body: "{}".to_owned() });
    let keys = &server.engine.idempotency;
    let dies = keys.once(Some(keyed("log in", "k")), signature, std::future::pending());
    assert!(tokio::time::timeout(Duration::from_secs(1), dies).await.is_err());
    let early = keys.once(Some(keyed("log in", "k")), signature, async { response() }).await;
    assert!(matches!(early, Err(EngineError::RequestInProgress)), "{early:?}");
    scene.clock.advance(KEY_LEASE);
    let again = keys.once(Some(keyed("log in", "k")), signature, async { response() }).await.unwrap();
    assert!(!again.replayed);
    for other in [Some(keyed("log in", "other")), None] {
        let refused = keys.once(other, signature, async { response() }).await;
        assert!(matches!(refused, Err(EngineError::InvalidIdentity(_))), "{refused:?}");
    }
    scene.finish().await;
}
