//! Offers of requests whose payment is held: how many one customer may have, how long they are good, and what the audit says of them.

use crate::held_requests::{
    CANCEL, SETTLE, assert_given_back, holding, keepable, offer, pay_held, reading, started, taken,
    until_kept,
};
use crate::scene::{Answer, CallFault, Ends, Point, Server, When, eventually, poll_all, somebody};
use std::cell::Cell;
use std::time::Duration;
use tithe_engine::jobs::Origin;
use tithe_engine::reconciliation::DifferenceKind;
use tithe_engine::records::TextOwner;
use tithe_engine::sessions::{NewPaidRequest, OfferedRequest};
use tithe_sessions::KeptState;

/// A request of this address.
fn of(address: &str, request: &str) -> NewPaidRequest {
    NewPaidRequest { origin: Some(Origin::new(address)), ..keepable(request) }
}

async fn offered(server: &Server, new: NewPaidRequest) -> OfferedRequest {
    server.engine.sessions.offer_request(new).await.unwrap()
}

/// Waits until a request of an address gets a hold invoice, and returns that.
async fn until_held(server: &Server, address: &str, request: &str) -> OfferedRequest {
    let n = Cell::new(0);
    eventually("there is room", async || {
        n.set(n.get() + 1);
        Some(offered(server, of(address, &format!("{request} {}", n.get()))).await)
            .filter(|offered| offered.is_held)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn one_address_has_an_eighth_of_the_room_for_requests_and_others_are_not_kept_out() {
    let mut scene = holding().await;
    // Of which half is for requests.
    scene.settings.held_payments_max = 32;
    let server = started(&scene);
    let [first, second] = [offered(&server, of("here", "a")).await, offered(&server, of("here", "b")).await];
    assert!(first.is_held && second.is_held);
    assert!(!offered(&server, of("here", "c")).await.is_held);
    // A new key is as free as none.
    let stranger = NewPaidRequest { identity: Some(somebody(1)), ..of("here", "d") };
    assert!(!offered(&server, stranger).await.is_held);
    assert!(offered(&server, of("there", "a")).await.is_held);
    // A payment that was taken makes room, one that is held does not.
    let mut gate = scene.backend.gate(Point::Work);
    pay_held(&scene, &first).await;
    gate.reached().await;
    assert!(!offered(&server, of("here", "e")).await.is_held);
    gate.open();
    taken(&scene, &first).await;
    let third = until_held(&server, "here", "f").await;
    assert!(!offered(&server, of("here", "g")).await.is_held);
    // So does one that went back, and the end of an offer.
    scene.backend.say_to_work(Answer::of(&[], Ends::Refused));
    pay_held(&scene, &third).await;
    assert_given_back(&scene, &third).await;
    until_held(&server, "here", "h").await;
    assert!(!offered(&server, of("here", "i")).await.is_held);
    scene.clock.advance(scene.settings.invoice_expiry);
    until_held(&server, "here", "j").await;
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_offer_is_good_while_its_payment_is_held_and_not_once_it_is_decided_or_forgotten() {
    let scene = holding().await;
    let server = started(&scene);
    let here = || of("here", "hello");
    let first = offered(&server, here()).await;
    server.engine.texts.forget(TextOwner::Session(first.session)).await.unwrap();
    let second = offered(&server, here()).await;
    assert!(second.is_held && second.session != first.session, "whoever paid the first would get it back");
    let mut gate = scene.backend.gate(Point::Work);
    pay_held(&scene, &second).await;
    gate.reached().await;
    assert_eq!(offered(&server, here()).await, second, "whoever asks again does not pay twice");
    // It is to be given back, and the wallet does not answer at once.
    server.power.calls.plan(CANCEL, 1, CallFault::Away, scene.store_faults.clone());
    scene.backend.say_to_work(Answer::of(&[], Ends::Refused));
    gate.open();
    until_kept(&scene, &second, |state| *state == KeptState::Cancelling).await;
    let third = offered(&server, here()).await;
    assert!(third.is_held && third.session != second.session);
    assert_given_back(&scene, &second).await;
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_audit_with_the_wallet_finds_a_payment_that_is_to_be_held_and_is_not() {
    for is_done in [false, true] {
        let scene = holding().await;
        let server = if is_done { started(&scene) } else { reading(scene.server()) };
        server.power.calls.plan(SETTLE, 1, CallFault::Goes(When::Before), scene.store_faults.clone());
        let offered = offer(&server, "hello").await;
        pay_held(&scene, &offered).await;
        poll_all(&server.engine).await;
        let wanted = |state: &KeptState| match state {
            KeptState::Held { .. } => !is_done,
            state => matches!(state, KeptState::Settling { .. }),
        };
        until_kept(&scene, &offered, wanted).await;
        let auditor = scene.server_elsewhere().await;
        let report = async || auditor.engine.reconciliation.report().await.unwrap();
        assert_eq!(report().await.differences, [], "{is_done}");
        // The wallet holds no payment for so long.
        scene.clock.advance(Duration::from_hours(3));
        let found = report().await;
        let kinds: Vec<_> = found.differences.iter().map(|it| (it.kind, it.payment_hash)).collect();
        assert_eq!(kinds, [(DifferenceKind::NotHeld, offered.invoice.payment_hash)], "{is_done}");
        assert!(!found.is_sound());
        server.power.calls.mend();
        let _other = started(&scene);
        assert_given_back(&scene, &offered).await;
        assert_eq!(report().await.differences, [], "{is_done}");
        scene.finish().await;
    }
}
