//! Offers of requests whose payment is held: how many one customer may have, how long they are good, and what the audit says of them.

use crate::held_requests::{
    CANCEL, SETTLE, assert_given_back, holding, keepable, kept, offer, pay_held, payment, reading, sent,
    started, taken, until_kept,
};
use crate::paid_requests::asked;
use crate::scene::{
    Answer, Call, CallFault, Ends, Point, Port, Server, When, eventually, poll_all, somebody,
};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::jobs::Origin;
use tithe_engine::reconciliation::DifferenceKind;
use tithe_engine::records::TextOwner;
use tithe_engine::sessions::{NewPaidRequest, OfferedRequest};
use tithe_engine::{EngineError, PaidRequestError};
use tithe_lightning::TestPaymentError;
use tithe_sessions::{KeptState, KeptTotals, SentRequest, SessionRepository};
use tithe_wallet_sim::{Fault, Operation};

/// A request of this address.
fn of(address: &str, request: &str) -> NewPaidRequest {
    NewPaidRequest { origin: Some(Origin::new(address)), ..keepable(request) }
}

async fn offered(server: &Server, new: NewPaidRequest) -> OfferedRequest {
    server.engine.sessions.offer_request(new).await.unwrap()
}

/// Waits until a request of an address gets a hold invoice, and returns that.
async fn until_held(server: &Server, address: &str, request: &str) -> OfferedRequest {
    let asked = Cell::new(0);
    eventually("there is room", async || {
        asked.set(asked.get() + 1);
        let new = of(address, &format!("{request} {}", asked.get()));
        Some(offered(server, new).await).filter(|offered| offered.is_held)
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
async fn what_another_server_has_done_makes_room_again() {
    let mut scene = holding().await;
    scene.settings.held_payments_max = 2;
    let server = reading(scene.server());
    let mut other = reading(scene.server_elsewhere().await);
    other.start();
    let first = offered(&server, of("here", "a")).await;
    assert!(first.is_held && !offered(&server, of("here", "b")).await.is_held);
    pay_held(&scene, &first).await;
    taken(&scene, &first).await;
    until_kept(&scene, &first, |state| *state == KeptState::Ended).await;
    assert!(offered(&server, of("here", "c")).await.is_held);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_hundred_who_ask_at_once_get_no_more_hold_invoices_than_there_is_room_for() {
    let scene = holding().await;
    let server = Arc::new(reading(scene.server()));
    for _ in 0..100 {
        server.wallet_faults().queue(Operation::HoldInvoiceCreate, Fault::Delay(Duration::from_secs(1)));
    }
    let asking = (0..100).map(|n| offered_owned(server.clone(), format!("hello {n}")));
    let offers = futures_util::future::join_all(asking).await;
    let held = offers.iter().filter(|offered| offered.is_held).count();
    assert_eq!(u64::try_from(held).unwrap(), scene.settings.held_payments_max / 2);
    scene.finish().await;
}

async fn offered_owned(server: Arc<Server>, request: String) -> OfferedRequest {
    offer(&server, &request).await
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_forgotten_is_offered_anew() {
    let scene = holding().await;
    let server = started(&scene);
    let first = offered(&server, of("here", "hello")).await;
    server.engine.texts.forget(TextOwner::Session(first.session)).await.unwrap();
    let second = offered(&server, of("here", "hello")).await;
    assert!(second.is_held && second.session != first.session, "whoever paid the first would get it back");
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

#[tokio::test(start_paused = true)]
async fn an_offer_gets_a_hold_invoice_only_if_everything_allows_it() {
    let mut scene = holding().await;
    scene.settings.held_payments_max = 4;
    let server = reading(scene.server());
    let large = "x".repeat(64 * 1024 + 1);
    for (what, new) in [
        ("nothing to keep", asked("hello")),
        ("too large", NewPaidRequest { sent: Some(Arc::new(sent(&large))), ..asked("large") }),
    ] {
        let offered = offered(&server, new).await;
        assert!(!offered.is_held, "{what}");
        assert_eq!(kept(&scene, &offered).await, None, "{what}");
    }
    assert!(!offer(&scene.server(), "nobody could read it").await.is_held);
    // Half of the room is for jobs.
    for (n, is_held) in [(1, true), (2, true), (3, false)] {
        assert_eq!(offer(&server, &format!("hello {n}")).await.is_held, is_held, "{n}");
    }
    let total = scene.store.kept_requests_total().await.unwrap();
    let bytes = u64::try_from(2 * sent("hello 1").bytes()).unwrap();
    assert_eq!(total, KeptTotals { requests: 2, bytes });
    scene.settings.hold_requests = false;
    assert!(!offer(&reading(scene.server()), "switched off").await.is_held);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_again_gets_the_same_hold_invoice_and_none_while_it_is_being_paid() {
    let scene = holding().await;
    let server = started(&scene);
    let first = offered(&server, of("here", "hello")).await;
    assert_eq!(offered(&server, of("here", "hello")).await, first);
    let mut gate = scene.backend.gate(Point::Work);
    pay_held(&scene, &first).await;
    gate.reached().await;
    let refused = server.engine.sessions.offer_request(of("here", "hello")).await;
    assert!(matches!(refused, Err(EngineError::PaidRequest(PaidRequestError::BeingPaid))), "{refused:?}");
    assert!(offered(&server, of("here", "another")).await.is_held);
    gate.open();
    taken(&scene, &first).await;
    until_kept(&scene, &first, |state| *state == KeptState::Ended).await;
    let second = offered(&server, of("here", "hello")).await;
    assert!(second.is_held && second.session != first.session);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_invoice_whose_payment_is_being_given_back_is_not_offered_again() {
    let scene = holding().await;
    let server = started(&scene);
    // The wallet gives the payment back, and cannot be asked about it any more.
    server.power.calls.plan(CANCEL, 1, CallFault::Goes(When::After), scene.store_faults.clone());
    let first = offered(&server, of("here", "hello")).await;
    scene.backend.say_to_work(Answer::of(&[], Ends::Refused));
    pay_held(&scene, &first).await;
    server.power.calls.strikes().await;
    assert!(matches!(payment(&scene, &first).await, Err(TestPaymentError::Returned(_))));
    assert_eq!(kept(&scene, &first).await.unwrap().state, KeptState::Cancelling);
    assert!(
        matches!(server.engine.sessions.offer_request(of("here", "hello")).await, Err(EngineError::NoWallet)),
        "and not the old one"
    );
    server.power.calls.mend();
    let second = offered(&server, of("here", "hello")).await;
    assert_ne!(second.session, first.session);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_differ_in_what_is_kept_have_offers_of_their_own() {
    let scene = holding().await;
    let server = started(&scene);
    let in_language = async |language: &str| {
        let headers = vec![("accept-language".to_owned(), language.to_owned())];
        let sent = Some(Arc::new(SentRequest { headers, ..sent("hello") }));
        let origin = Some(Origin::new("192.0.2.1"));
        let new = NewPaidRequest { origin, sent, ..keepable("hello") };
        server.engine.sessions.offer_request(new).await.unwrap()
    };
    let german = in_language("de").await;
    assert_ne!(in_language("it").await.session, german.session);
    assert_eq!(in_language("de").await, german);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_wallet_that_does_not_answer_when_asked_for_hold_invoices_is_asked_for_ordinary_ones() {
    let scene = holding().await;
    let server = reading(scene.server());
    for _ in 0..3 {
        server.wallet_faults().queue(Operation::HoldInvoiceCreate, Fault::Delay(Duration::from_hours(1)));
    }
    assert!(
        matches!(server.engine.sessions.offer_request(of("here", "hello")).await, Err(EngineError::NoWallet)),
        "it takes too long"
    );
    // It is made all the same.
    tokio::time::sleep(scene.settings.wallet_timeout * 4).await;
    assert!(!offered(&server, of("here", "hello")).await.is_held);
    assert!(!offer(&server, "another").await.is_held, "nobody else has to wait");
    scene.clock.advance(Duration::from_mins(6));
    assert!(offer(&server, "a third").await.is_held);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_ordinary_invoice_is_made_if_the_wallet_makes_no_hold_invoice() {
    let scene = holding().await;
    let server = reading(scene.server());
    let create = Call { port: Port::Wallet, name: "hold_invoice_create" };
    server.power.calls.plan(create, 1, CallFault::Refused, scene.store_faults.clone());
    let offered = offer(&server, "hello").await;
    assert!(!offered.is_held);
    assert_eq!(kept(&scene, &offered).await, None);
    scene.finish().await;
}
