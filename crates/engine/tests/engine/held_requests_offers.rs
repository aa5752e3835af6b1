//! Which requests are offered for a payment that is held, and to whom.

use crate::held_requests::{
    holding, keepable, kept, offer, pay_held, payment, reading, sent, started, taken, until_kept,
};
use crate::paid_requests::asked;
use crate::scene::{Answer, Call, CallFault, Ends, Point, Port, Scene, Server, When};
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::jobs::Origin;
use tithe_engine::sessions::{NewPaidRequest, OfferedRequest};
use tithe_engine::{EngineError, PaidRequestError};
use tithe_lightning::TestPaymentError;
use tithe_sessions::{KeptState, KeptTotals, SentRequest, SessionRepository};
use tithe_wallet_sim::{Fault, Operation};

/// Asks from one address.
async fn offer_here(server: &Server, request: &str) -> Result<OfferedRequest, EngineError> {
    let origin = Some(Origin::new("192.0.2.1"));
    server.engine.sessions.offer_request(NewPaidRequest { origin, ..keepable(request) }).await
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
        let offered = server.engine.sessions.offer_request(new).await.unwrap();
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
    let first = offer_here(&server, "hello").await.unwrap();
    assert_eq!(offer_here(&server, "hello").await.unwrap(), first);
    let mut gate = scene.backend.gate(Point::Work);
    pay_held(&scene, &first).await;
    gate.reached().await;
    let refused = offer_here(&server, "hello").await;
    assert!(matches!(refused, Err(EngineError::PaidRequest(PaidRequestError::BeingPaid))), "{refused:?}");
    assert!(offer_here(&server, "another").await.unwrap().is_held);
    gate.open();
    taken(&scene, &first).await;
    until_kept(&scene, &first, |state| *state == KeptState::Ended).await;
    let second = offer_here(&server, "hello").await.unwrap();
    assert!(second.is_held && second.session != first.session);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_invoice_whose_payment_is_being_given_back_is_not_offered_again() {
    let scene = holding().await;
    let server = started(&scene);
    // The wallet gives the payment back, and cannot be asked about it any more.
    let cancel = Call { port: Port::Wallet, name: "hold_invoice_cancel" };
    server.power.calls.plan(cancel, 1, CallFault::Goes(When::After), scene.store_faults.clone());
    let first = offer_here(&server, "hello").await.unwrap();
    scene.backend.say_to_work(Answer::of(&[], Ends::Refused));
    pay_held(&scene, &first).await;
    server.power.calls.strikes().await;
    assert!(matches!(payment(&scene, &first).await, Err(TestPaymentError::Returned(_))));
    assert_eq!(kept(&scene, &first).await.unwrap().state, KeptState::Cancelling);
    assert!(matches!(offer_here(&server, "hello").await, Err(EngineError::NoWallet)), "and not the old one");
    server.power.calls.mend();
    let second = offer_here(&server, "hello").await.unwrap();
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
    assert!(matches!(offer_here(&server, "hello").await, Err(EngineError::NoWallet)), "it takes too long");
    // It is made all the same.
    tokio::time::sleep(scene.settings.wallet_timeout * 4).await;
    assert!(!offer_here(&server, "hello").await.unwrap().is_held);
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
