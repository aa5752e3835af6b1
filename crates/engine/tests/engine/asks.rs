//! Plain requests that an install's plan includes, or that the pool pays for.

use crate::scene::{Answer, Backend, Ends, Point, Scene, Server, eventually, keyed, somebody};
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{Clock, SeededEntropy};
use tithe_engine::asks::{FinishedAsk, NewAsk, RenderAsk};
use tithe_engine::credits::PresentedInstall;
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::identities::{AuthNonceConsume, RequestSignature};
use tithe_engine::jobs::Origin;
use tithe_engine::metered::{Client, Prompt};
use tithe_engine::records::{AuthNonceId, AuthNonceKind, StoredResponse};
use tithe_engine::{EngineError, InvalidCredential, PaymentNeeded};
use tithe_ledger::TransferKind;
use tithe_ledger::credits::{Counted, CreditRefusal, CreditRepository, Install, InstallId, Plan, Quota};
use tithe_licences::{Licence, LicenceId, LicenceKeys, SigningKey};
use tithe_money::Sats;
use tithe_pricing::Usage;
use tokio::task::JoinSet;
use uuid::Uuid;

/// Says where the work ran and what is left, so that a replay can be told from a new answer.
#[derive(Debug)]
pub struct Plainly;

impl RenderAsk for Plainly {
    fn render(&self, finished: &FinishedAsk) -> StoredResponse {
        let remaining = finished.balance.and_then(|balance| balance.remaining);
        let status = if finished.answer.is_ok() { 200 } else { 422 };
        let body = format!("{} {remaining:?} {}", finished.backend, finished.absorbed);
        StoredResponse { status, body }
    }
}

pub fn install(n: u128) -> InstallId {
    InstallId::new(Uuid::from_u128(n))
}

/// A request of nobody.
pub fn plain(request: &str) -> NewAsk {
    NewAsk {
        install: None,
        identity: None,
        signature: RequestSignature(None),
        origin: None,
        id: None,
        prompt: Prompt::text(request.to_owned()),
        model: None,
        max_output_tokens: None,
        client: Client {
            listener: None,
            begun: tokio_util::sync::CancellationToken::new(),
            gone: tokio_util::sync::CancellationToken::new(),
            sent: Arc::default(),
            backend: Arc::default(),
        },
    }
}

/// A request of an install without a licence.
pub fn of(n: u128) -> NewAsk {
    NewAsk { install: Some(PresentedInstall { id: install(n), licence: None }), ..plain("hello") }
}

pub async fn ask(server: &Server, new: NewAsk, key: Option<&str>) -> Result<KeyedResponse, EngineError> {
    let key = key.map(|key| keyed("hello", key));
    server.engine.asks.ask(new, key, Arc::new(Plainly)).await
}

/// A scene in which `core` includes so many requests, of which so many in the cloud.
pub async fn scene(requests: u64, cloud: Option<u64>) -> Scene {
    let mut scene = Scene::open().await;
    scene.settings.credits.plans.core = Quota { counted: Counted::Lifetime, requests: Some(requests), cloud };
    scene
}

pub async fn stored(scene: &Scene, n: u128) -> Install {
    scene.store.install(install(n)).await.unwrap().unwrap()
}

fn refusal(refused: Result<KeyedResponse, EngineError>) -> Option<CreditRefusal> {
    match refused {
        Err(EngineError::PaymentNeeded(PaymentNeeded { credits, .. })) => credits,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_requests_at_once_on_two_servers_share_ten_credits() {
    let scene = scene(10, None).await;
    let servers = [Arc::new(scene.server()), Arc::new(scene.server())];
    let mut asked = JoinSet::new();
    for n in 0..100 {
        let server = servers[n % 2].clone();
        asked.spawn(async move { ask(&server, of(1), None).await });
    }
    let answers = asked.join_all().await;
    let (served, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(served.len(), 10);
    assert_eq!(refused.len(), 90);
    assert!(refused.into_iter().all(|refused| refusal(refused) == Some(CreditRefusal::OutOfCredits)));
    let counters = stored(&scene, 1).await.lifetime;
    assert_eq!((counters.consumed, counters.cloud_consumed, counters.reserved), (10, 10, 0));
    assert_eq!(scene.backend.works(), 10, "nothing was done for those that were refused");
    let booked = scene.transfers().await;
    assert_eq!(booked.iter().filter(|transfer| transfer.kind == TransferKind::InstallCredit).count(), 10);
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_the_cloud_does_not_include_goes_to_hardware() {
    let mut scene = scene(10, Some(4)).await;
    scene.hardware = Some(Arc::default());
    let servers = [Arc::new(scene.server()), Arc::new(scene.server())];
    let mut asked = JoinSet::new();
    for n in 0..100 {
        let server = servers[n % 2].clone();
        asked.spawn(async move { ask(&server, of(1), None).await });
    }
    let answers = asked.join_all().await;
    let ran_on = |name: &str| {
        let ran = |answer: &&Result<KeyedResponse, _>| {
            answer.as_ref().is_ok_and(|answer| answer.response.body.starts_with(name))
        };
        answers.iter().filter(ran).count()
    };
    assert_eq!((ran_on("cloud"), ran_on("hardware")), (4, 6));
    assert_eq!((scene.backend.works(), scene.hardware.as_ref().unwrap().works()), (4, 6));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn without_hardware_the_cloud_cap_is_the_end() {
    let scene = scene(10, Some(1)).await;
    let server = scene.server();
    ask(&server, of(1), None).await.unwrap();
    let refused = refusal(ask(&server, of(1), None).await);
    assert_eq!(refused, Some(CreditRefusal::CloudCapExceededNoHardware));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn whatever_the_backend_does_wrong_the_credit_is_given_back() {
    let scene = scene(1, None).await;
    let server = scene.server();
    let failures = [
        (Answer::of(&[], Ends::Refused), "refused the request"),
        (Answer::of(&[], Ends::Away(Duration::from_secs(1))), "backend is unavailable"),
        (Answer::of(&[], Ends::Misconfigured), "backend is unavailable"),
        (Answer::of(&[], Ends::Never), "could not be done"),
        (Answer::of(&["some"], Ends::CutOff), "could not be done"),
        (Answer::of(&["some"], Ends::FailedAfter), "could not be done"),
        (Answer::of(&[], Ends::Finished(None)), "could not be done"),
    ];
    for (n, (answer, message)) in failures.into_iter().enumerate() {
        scene.backend.say_to_work(answer.clone());
        let key = format!("k{n}");
        let failed = ask(&server, of(1), Some(&key)).await.unwrap_err();
        assert!(failed.to_string().contains(message), "{answer:?}: {failed}");
        let counters = stored(&scene, 1).await.lifetime;
        assert_eq!((counters.consumed, counters.reserved), (0, 0), "{answer:?}");
    }
    let answered = ask(&server, of(1), Some("k1")).await.unwrap();
    assert_eq!(answered.response.body, "cloud Some(0) 0 msat");
    let kinds = scene.transfers().await;
    let lost = kinds.iter().filter(|transfer| transfer.kind == TransferKind::Uncollected).count();
    assert_eq!(lost, 4, "what the backend has done is booked, although nobody got it");
    scene.finish().await;
}

/// Otherwise a request could make the model work for nothing, again and again: one whose output is too short for an answer, or one that
/// asks for a space.
#[tokio::test(start_paused = true)]
async fn a_model_that_has_worked_without_an_answer_has_used_a_credit() {
    let mut scene = scene(2, None).await;
    scene.settings.rules.free_tier.budgets.new = Sats::new(1_000).unwrap();
    let server = scene.server();
    server.engine.pool.open().await.unwrap();
    let reasoning = Usage { input_tokens: 7, output_tokens: 900, ..Usage::ZERO };
    for (n, deltas) in [&[][..], &[" \n"][..]].into_iter().enumerate() {
        scene.backend.say_to_work(Answer::of(deltas, Ends::Finished(Some(reasoning))));
        ask(&server, of(1), None).await.unwrap();
        assert_eq!(stored(&scene, 1).await.lifetime.consumed, u64::try_from(n).unwrap() + 1);
    }
    scene.backend.say_to_work(Answer::of(&[], Ends::Finished(Some(reasoning))));
    ask(&server, NewAsk { identity: Some(somebody(1)), ..plain("hello") }, None).await.unwrap();
    let granted = scene.transfers().await;
    assert_eq!(granted.iter().filter(|transfer| transfer.kind == TransferKind::Grant).count(), 1);
    assert_eq!(granted.iter().filter(|transfer| transfer.kind == TransferKind::Uncollected).count(), 0);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_begin_whose_commit_was_lost_is_given_back_without_waiting_for_its_lease() {
    for happens in [true, false] {
        let scene = scene(1, None).await;
        let server = scene.server();
        scene.store_faults.commit_lost("ask_begin", happens);
        let lost = ask(&server, of(1), Some("k")).await;
        assert!(matches!(lost, Err(EngineError::OutcomeUnknown)), "{lost:?}");
        let again = async || ask(&server, of(1), Some("k")).await.ok();
        let began = scene.clock.now();
        let answered = eventually("the credit is back, and the key is free", again).await;
        assert_eq!(answered.response.body, "cloud Some(0) 0 msat");
        assert!(scene.clock.now().since(began) < scene.settings.lease, "no lease has run out");
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_whose_commit_was_lost_takes_one_credit() {
    for happens in [true, false] {
        let scene = scene(3, None).await;
        let server = scene.server();
        scene.store_faults.commit_lost("ask_finish", happens);
        let answered = ask(&server, of(1), Some("k")).await.unwrap();
        assert_eq!(answered.response.body, "cloud Some(2) 0 msat");
        let again = ask(&server, of(1), Some("k")).await.unwrap();
        assert_eq!((again.response, again.replayed), (answered.response, true));
        assert_eq!(stored(&scene, 1).await.lifetime.consumed, 1);
        let booked = scene.transfers().await;
        assert_eq!(booked.len(), 1, "{booked:?}");
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn only_those_wait_for_a_slot_who_have_set_something_aside_and_only_while_they_are_there() {
    let mut scene = scene(2, None).await;
    scene.settings.ask_requests = 1;
    let server = Arc::new(scene.server());
    let mut gate = scene.backend.gate(Point::Work);
    let first = tokio::spawn({
        let server = server.clone();
        async move { ask(&server, of(1), None).await }
    });
    gate.reached().await;
    let waiting = of(1);
    let gone = waiting.client.gone.clone();
    let second = tokio::spawn({
        let server = server.clone();
        async move { ask(&server, waiting, None).await }
    });
    eventually("the second has a credit", async || {
        (stored(&scene, 1).await.lifetime.reserved == 2).then_some(())
    })
    .await;
    // The slot is taken, and so is every credit: whoever has none is told at once.
    assert_eq!(refusal(ask(&server, of(1), None).await), Some(CreditRefusal::OutOfCredits));
    assert_eq!(refusal(ask(&server, plain("hello"), None).await), None);
    gone.cancel();
    assert!(matches!(second.await.unwrap(), Err(EngineError::WorkFailed)));
    eventually("its credit is back", async || (stored(&scene, 1).await.lifetime.reserved == 1).then_some(()))
        .await;
    gate.open();
    assert_eq!(first.await.unwrap().unwrap().response.body, "cloud Some(1) 0 msat");
    assert_eq!(scene.backend.works(), 1);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_credit_includes_no_longer_answer_than_the_plan_says() {
    let scene = scene(9, None).await;
    let server = scene.server();
    let asks = async |tokens| {
        let new = NewAsk { max_output_tokens: Some(tokens), ..of(1) };
        ask(&server, new, None).await.map(drop).map_err(|refused| refused.to_string())
    };
    let limit = server.engine.ports().catalogue.model("sim-large").unwrap().default_max_output_tokens;
    assert_eq!(asks(limit).await, Ok(()));
    let refused = asks(limit + 1).await.unwrap_err();
    assert!(refused.contains(&format!("expected at most {limit} output tokens")), "{refused}");
    assert_eq!(stored(&scene, 1).await.lifetime.used(), 1);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_pool_pays_for_what_the_plan_of_the_install_does_not_include() {
    let mut scene = scene(9, None).await;
    scene.settings.rules.free_tier.budgets.new = Sats::new(1_000).unwrap();
    let server = scene.server();
    server.engine.pool.open().await.unwrap();
    let small = |identity| NewAsk { model: Some("sim-small".to_owned()), identity, ..of(1) };
    let refused = ask(&server, small(None), None).await.unwrap_err().to_string();
    assert!(refused.contains("expected one of sim-large; got \"sim-small\""), "{refused}");
    let free = ask(&server, small(Some(somebody(1))), None).await.unwrap();
    assert!(!free.response.body.ends_with(" 0 msat"), "{free:?}");
    assert_eq!(scene.store.install(install(1)).await.unwrap(), None, "no credit was taken");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn hardware_that_is_down_is_named_and_costs_no_credit() {
    let mut scene = scene(5, Some(0)).await;
    let hardware: Arc<Backend> = Arc::default();
    scene.hardware = Some(hardware.clone());
    let server = scene.server();
    for ends in [Ends::Away(Duration::from_secs(9)), Ends::Never, Ends::Misconfigured] {
        hardware.say_to_work(Answer::of(&[], ends));
        let failed = ask(&server, of(1), None).await;
        assert!(matches!(failed, Err(EngineError::HardwareUnavailable { .. })), "{ends:?}: {failed:?}");
        assert_eq!(stored(&scene, 1).await.lifetime.used(), 0);
    }
    assert_eq!(scene.backend.works(), 0, "the plan chooses, not the weather");
    let answered = ask(&server, of(1), None).await.unwrap();
    assert_eq!(answered.response.body, "hardware Some(4) 0 msat");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_repeated_under_its_key_takes_one_credit() {
    let scene = scene(5, None).await;
    let server = scene.server();
    let first = ask(&server, of(1), Some("k")).await.unwrap();
    let again = ask(&server, of(1), Some("k")).await.unwrap();
    assert_eq!((again.response, again.replayed), (first.response, true));
    let other = server.engine.asks.ask(of(1), Some(keyed("other", "k")), Arc::new(Plainly)).await;
    assert!(matches!(other, Err(EngineError::IdempotencyKeyReused)), "{other:?}");
    assert_eq!(stored(&scene, 1).await.lifetime.consumed, 1);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_credit_that_expired_while_its_server_slept_is_taken_late_if_there_is_room() {
    for room in [2, 1] {
        let mut scene = scene(room, None).await;
        // Nothing renews it.
        scene.settings.lease = Duration::from_hours(30);
        let server = Arc::new(scene.server());
        let mut gate = scene.backend.gate(Point::Work);
        let asked = tokio::spawn({
            let server = server.clone();
            async move { ask(&server, of(1), None).await }
        });
        gate.reached().await;
        scene.clock.advance(Duration::from_hours(31));
        let other = scene.server();
        other.engine.credits.sweep().await.unwrap();
        assert_eq!(stored(&scene, 1).await.lifetime.reserved, 0);
        ask(&other, of(1), None).await.unwrap();
        gate.open();
        let late = asked.await.unwrap();
        assert_eq!(late.is_ok(), room == 2, "{late:?}");
        let counters = stored(&scene, 1).await.lifetime;
        assert_eq!((counters.consumed, counters.reserved), (room, 0), "never more than the plan includes");
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_pool_pays_for_whom_it_trusts_and_after_the_credits_of_the_install() {
    let mut scene = scene(1, None).await;
    scene.settings.rules.free_tier.budgets.new = Sats::new(1_000).unwrap();
    let server = scene.server();
    server.engine.pool.open().await.unwrap();
    let both = || NewAsk { identity: Some(somebody(1)), ..of(1) };
    assert_eq!(ask(&server, both(), None).await.unwrap().response.body, "cloud Some(0) 0 msat");
    assert_eq!(scene.backend.evaluations(), 0, "what a plan includes is not evaluated");
    let free = ask(&server, both(), Some("k")).await.unwrap();
    assert!(free.response.body.starts_with("cloud None ") && !free.response.body.ends_with(" 0 msat"));
    assert_eq!(scene.backend.evaluations(), 1);
    let again = ask(&server, both(), Some("k")).await.unwrap();
    assert_eq!((again.response, again.replayed), (free.response, true));
    let granted = scene.transfers().await;
    assert_eq!(granted.iter().filter(|transfer| transfer.kind == TransferKind::Grant).count(), 1);
    assert_eq!(server.engine.pool.status().await.unwrap().reserved.get(), 0);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_the_evaluation_rejects_costs_trust_and_no_grant() {
    let mut scene = scene(1, None).await;
    scene.settings.rules.free_tier.budgets.new = Sats::new(1_000).unwrap();
    let server = scene.server();
    server.engine.pool.open().await.unwrap();
    scene
        .backend
        .say_to_evaluation(Answer::of(&[r#"{"accept":false,"reason":"No."}"#], Ends::Finished(None)));
    let new = NewAsk { identity: Some(somebody(1)), ..plain("hello") };
    let rejected = ask(&server, new, Some("k")).await.unwrap();
    assert_eq!(rejected.response.status, 422);
    let identity = server.engine.identities.view(somebody(1)).await.unwrap();
    assert_eq!(identity.interactions, 1, "it is noted");
    let status = server.engine.pool.status().await.unwrap();
    assert_eq!((status.reserved.get(), status.granted_today.get()), (0, 0));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_has_nothing_is_told_what_it_costs() {
    let scene = scene(0, None).await;
    let server = scene.server();
    let stranger = NewAsk { identity: Some(somebody(1)), ..plain("hello") };
    for new in [plain("hello"), stranger] {
        match ask(&server, new, None).await {
            Err(EngineError::PaymentNeeded(needed)) => {
                assert!(needed.required.get() > 0 && needed.credits.is_none());
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refusal(ask(&server, of(1), None).await), Some(CreditRefusal::OutOfCredits));
    assert_eq!(scene.store.install(install(1)).await.unwrap(), None, "a refusal leaves nothing behind");
    assert_eq!(scene.backend.works(), 0);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_signed_request_is_done_once_whoever_pays() {
    let scene = scene(5, None).await;
    let server = scene.server();
    let nonce = AuthNonceConsume {
        nonce: AuthNonceId([9; 32]),
        kind: AuthNonceKind::HttpAuth,
        pubkey: somebody(1),
        expires_at: scene.clock.now() + Duration::from_mins(5),
    };
    let signed = || NewAsk { identity: Some(somebody(1)), signature: RequestSignature(Some(nonce)), ..of(1) };
    ask(&server, signed(), None).await.unwrap();
    let again = ask(&server, signed(), None).await;
    let used = EngineError::InvalidIdentity(InvalidCredential::Used).to_string();
    assert_eq!(again.unwrap_err().to_string(), used);
    assert_eq!(stored(&scene, 1).await.lifetime.consumed, 1);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_licence_proves_a_plan_until_it_is_revoked() {
    let mut scene = scene(1, None).await;
    let entropy = SeededEntropy::new(3);
    let key = SigningKey::random(&entropy);
    scene.settings.credits.licence_keys = LicenceKeys::new([key.verifying_key()]);
    scene.settings.credits.plans.pro = Quota { counted: Counted::Monthly, requests: Some(2), cloud: None };
    let server = scene.server();
    let (id, now) = (LicenceId::random(&entropy), scene.clock.now());
    let expires_at = now + Duration::from_hours(24 * 400);
    let licence =
        Licence { id, install: install(1), plan: Plan::Pro, issued_at: now, expires_at, key: key.id() };
    let token = licence.sign(&key).unwrap();
    let pro = |n| {
        let presented = PresentedInstall { id: install(n), licence: Some(token.clone()) };
        NewAsk { install: Some(presented), ..plain("hello") }
    };
    ask(&server, of(1), None).await.unwrap();
    for left in [1, 0] {
        let body = ask(&server, pro(1), None).await.unwrap().response.body;
        assert_eq!(body, format!("cloud Some({left}) 0 msat"));
    }
    assert_eq!(refusal(ask(&server, pro(1), None).await), Some(CreditRefusal::OutOfCredits));
    // Going back to core for a request renews nothing.
    assert_eq!(refusal(ask(&server, of(1), None).await), Some(CreditRefusal::OutOfCredits));
    assert_eq!(refusal(ask(&server, pro(1), None).await), Some(CreditRefusal::OutOfCredits));
    let other = ask(&server, pro(2), None).await;
    assert!(matches!(other, Err(EngineError::InvalidIdentity(InvalidCredential::Licence(_)))), "{other:?}");
    // A month later it is renewed.
    let renewal = stored(&scene, 1).await.anchor().next_renewal(scene.clock.now());
    scene.clock.advance(renewal.since(scene.clock.now()));
    assert_eq!(ask(&server, pro(1), None).await.unwrap().response.body, "cloud Some(1) 0 msat");
    server.engine.credits.licence_revoke(id, "refunded".to_owned()).await.unwrap();
    for _ in 0..2 {
        let revoked = ask(&server, pro(1), None).await;
        let revoked = matches!(revoked, Err(EngineError::InvalidIdentity(InvalidCredential::LicenceRevoked)));
        assert!(revoked);
    }
    let presented = PresentedInstall { id: install(1), licence: Some(token.clone()) };
    assert!(server.engine.credits.balance(&presented).await.is_err());
    let counters = stored(&scene, 1).await;
    assert_eq!((counters.plan, counters.lifetime.consumed, counters.monthly.consumed), (Plan::Pro, 1, 1));
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_origin_has_so_many_new_installs_a_day_on_all_servers_together() {
    let mut scene = scene(5, None).await;
    scene.settings.credits.new_installs = 3;
    let servers = [Arc::new(scene.server()), Arc::new(scene.server())];
    let from = |n: u128, origin: &str| NewAsk { origin: Some(Origin::new(origin)), ..of(n) };
    let mut asked = JoinSet::new();
    for n in 0..40_u128 {
        let (server, new) = (servers[usize::from(n % 2 == 0)].clone(), from(n, "192.0.2.1"));
        asked.spawn(async move { ask(&server, new, None).await });
    }
    let answers = asked.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    let refused = answers.into_iter().filter_map(Result::err);
    for refused in refused {
        assert!(matches!(refused, EngineError::TooManyInstalls(_)), "{refused:?}");
    }
    let known = scene.store.installs(None, 100).await.unwrap();
    assert_eq!(known.len(), 3);
    ask(&servers[0], NewAsk { origin: Some(Origin::new("192.0.2.1")), ..of_install(known[0].id) }, None)
        .await
        .unwrap();
    ask(&servers[0], from(100, "192.0.2.2"), None).await.unwrap();
    scene.clock.advance(Duration::from_hours(24));
    ask(&servers[0], from(101, "192.0.2.1"), None).await.unwrap();
    scene.finish().await;
}

fn of_install(id: InstallId) -> NewAsk {
    NewAsk { install: Some(PresentedInstall { id, licence: None }), ..plain("hello") }
}
