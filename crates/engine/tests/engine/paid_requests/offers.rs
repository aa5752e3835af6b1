//! What is offered to requests that nobody pays for.

use super::{asked, asked_from};
use crate::scene::{Scene, poll_all};
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::EngineError;
use tithe_engine::identities::RequestSignature;
use tithe_engine::jobs::Origin;
use tithe_engine::records::StoredResponse;
use tithe_engine::sessions::{CreatedSession, NewPaidRequest, NewSessionRequest};
use tithe_money::Sats;
use tokio::task::JoinSet;

#[tokio::test(start_paused = true)]
async fn who_asks_again_gets_the_same_offer_while_it_can_be_paid_in_peace() {
    let scene = Scene::open().await;
    let server = scene.server();
    let here = |request: &str, address: &str| NewPaidRequest {
        origin: Some(Origin::new(address)),
        ..asked(request)
    };
    let offer = async |request: &str, address: &str| {
        server.engine.sessions.offer_request(here(request, address)).await.unwrap()
    };
    let first = offer("hello", "192.0.2.1").await;
    scene.clock.advance((scene.settings.invoice_expiry / 2).checked_sub(Duration::from_secs(1)).unwrap());
    assert_eq!(offer("hello", "192.0.2.1").await, first);
    assert_ne!(offer("hello!", "192.0.2.1").await.session, first.session);
    assert_ne!(offer("hello", "192.0.2.2").await.session, first.session);
    scene.clock.advance(Duration::from_secs(2));
    let second = offer("hello", "192.0.2.1").await;
    assert_ne!(second.session, first.session);
    assert_eq!(offer("hello", "192.0.2.1").await, second);
    scene.pay(second.invoice.payment_hash).await;
    poll_all(&server.engine).await;
    assert_ne!(offer("hello", "192.0.2.1").await.session, second.session, "it is paid");
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_asks_often_at_once_gets_one_offer() {
    let scene = Scene::open().await;
    let server = Arc::new(scene.server());
    let mut asking = JoinSet::new();
    for _ in 0..32 {
        let server = server.clone();
        asking.spawn(async move {
            server.engine.sessions.offer_request(asked_from("192.0.2.1", "hello")).await.unwrap()
        });
    }
    let offers = asking.join_all().await;
    assert!(offers.iter().all(|offered| *offered == offers[0]));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn those_whose_origin_is_not_known_are_not_taken_for_one() {
    let scene = Scene::open().await;
    let server = scene.server();
    let [one, another] = [
        server.engine.sessions.offer_request(asked("hello")).await.unwrap(),
        server.engine.sessions.offer_request(asked("hello")).await.unwrap(),
    ];
    assert_ne!(one.invoice.payment_hash, another.invoice.payment_hash);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_is_not_offered_and_what_is_offered_is_limited() {
    let mut scene = Scene::open().await;
    scene.settings.max_unpaid_per_origin = 3;
    let server = scene.server();
    let offer = async |request: &str| {
        let new = NewPaidRequest { origin: Some(Origin::new("192.0.2.1")), ..asked(request) };
        server.engine.sessions.offer_request(new).await
    };
    let unknown = NewPaidRequest { model: Some("gpt-9".to_owned()), ..asked("hello") };
    let refused = server.engine.sessions.offer_request(unknown).await;
    assert!(matches!(refused, Err(EngineError::Request(_))), "{refused:?}");
    let too_much = NewPaidRequest { max_output_tokens: Some(u64::MAX), ..asked("hello") };
    let refused = server.engine.sessions.offer_request(too_much).await;
    assert!(matches!(refused, Err(EngineError::Request(_))), "{refused:?}");
    scene.prices.set(None);
    assert!(matches!(offer("hello").await, Err(EngineError::NoPrice(_))));
    scene.prices.set(Some("100000"));
    let first = offer("1").await.unwrap();
    offer("2").await.unwrap();
    assert!(matches!(offer("3").await, Err(EngineError::TooManyUnpaidOfYours { most: 2, .. })));
    assert_eq!(offer("1").await.unwrap(), first, "no other is made");
    scene.pay(first.invoice.payment_hash).await;
    poll_all(&server.engine).await;
    offer("3").await.unwrap();
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn offers_leave_half_of_the_room_for_unpaid_invoices_to_what_is_asked_for() {
    let mut scene = Scene::open().await;
    scene.settings.max_unpaid_per_origin = 4;
    // A fifth of all is for those who have trust.
    scene.settings.max_unpaid_invoices = 5;
    let server = scene.server();
    let sessions = &server.engine.sessions;
    let open = async |origin| {
        let new = NewSessionRequest {
            deposit: Sats::new(1_000).unwrap(),
            identity: None,
            webhook: None,
            return_to: None,
            signature: RequestSignature(None),
            origin: Some(Origin::new(origin)),
        };
        let render = |_: &CreatedSession| StoredResponse { status: 201, body: String::new() };
        sessions.create(new, None, &render).await.map(drop)
    };
    sessions.offer_request(asked_from("192.0.2.1", "1")).await.unwrap();
    sessions.offer_request(asked_from("192.0.2.1", "2")).await.unwrap();
    let refused = sessions.offer_request(asked_from("192.0.2.1", "3")).await;
    assert!(matches!(refused, Err(EngineError::TooManyUnpaid)), "those of all customers: {refused:?}");
    open("192.0.2.1").await.unwrap();
    open("192.0.2.1").await.unwrap();
    let refused = open("192.0.2.2").await;
    assert!(matches!(refused, Err(EngineError::TooManyUnpaid)), "{refused:?}");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_wallet_makes_nobody_wait_and_its_offer_is_found_later() {
    let scene = Scene::open().await;
    let server = scene.server();
    server.power.cut_at(crate::scene::Op::Mint, 1, crate::scene::When::Before);
    let refused = server.engine.sessions.offer_request(asked_from("192.0.2.1", "hello")).await;
    assert!(matches!(refused, Err(EngineError::NoWallet)), "{refused:?}");
    server.power.mend();
    let offered = server.engine.sessions.offer_request(asked_from("192.0.2.1", "hello")).await.unwrap();
    assert_eq!(
        server.engine.sessions.offer_request(asked_from("192.0.2.1", "hello")).await.unwrap(),
        offered
    );
    scene.finish().await;
}
