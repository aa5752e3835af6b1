//! What a node on the way of a payment can do with its hash and its preimage, and what only the owner of the challenge can.

use super::{Deposit, asked, challenged, credential, hasty, refused, request, return_invoice, sats, sent};
use crate::paid_requests::Payment;
use crate::scene::{Scene, Server};
use std::time::Duration;
use tithe_engine::sessions::{PaymentSessionError, PaymentState, SessionCredential};
use tithe_engine::{EngineError, InvalidProof};
use tithe_money::Msats;
use tithe_payouts::ObligationState;
use tithe_paywall::payment::{RefundStatus, SessionAction};

fn address() -> tithe_payouts::Destination {
    "alice@example.com".parse().unwrap()
}

/// All that a node can make of a hash and a preimage, with challenges that it asks for itself.
async fn stolen(server: &Server, hash: [u8; 32], preimage: [u8; 32]) -> [SessionCredential; 2] {
    let (_, challenge) = challenged(server).await;
    [
        SessionAction::Bearer { session_id: hash, preimage },
        SessionAction::Close { session_id: hash, preimage },
    ]
    .map(|action| credential(server, &challenge, &action).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_node_on_the_way_spends_no_deposit_that_is_not_opened() {
    let scene = Scene::open().await;
    let server = scene.server();
    let deposit = Deposit::paid(&scene, &server).await;
    let [bearer, close] = stolen(&server, *deposit.hash().as_bytes(), deposit.secret()).await;
    assert_eq!(refused(request(&server, &bearer, "hello").await), PaymentSessionError::NotOpened);
    assert_eq!(
        refused(server.engine.sessions.close_by_payment(&close).await),
        PaymentSessionError::NotOpened
    );
    assert_eq!(deposit.balance(&scene).await, deposit.offered.deposit.to_msats());
    deposit.open(&server).await.unwrap();
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_on_the_way_spends_no_payment_of_one_request() {
    let scene = Scene::open().await;
    let server = scene.server();
    let paid = Payment::of(&scene, &server, "hello").await;
    let preimage = hex::decode(paid.preimage.reveal()).unwrap().try_into().unwrap();
    let [bearer, close] = stolen(&server, *paid.offered.invoice.payment_hash.as_bytes(), preimage).await;
    assert_eq!(refused(request(&server, &bearer, "hello").await), PaymentSessionError::NotFound);
    assert_eq!(refused(server.engine.sessions.close_by_payment(&close).await), PaymentSessionError::NotFound);
    paid.redeem(&server, "hello").await.unwrap();
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_on_the_way_gets_no_money_of_an_open_session() {
    let scene = hasty().await;
    let server = scene.started();
    let deposit = Deposit::opened(&scene, &server).await;
    let stolen = stolen(&server, *deposit.hash().as_bytes(), deposit.secret()).await;
    for credential in &stolen {
        for claim in [
            server.engine.sessions.refund_deposit(credential, Some(address())).await,
            server.engine.sessions.deposit(credential).await,
        ] {
            assert!(matches!(claim, Err(EngineError::InvalidProof(InvalidProof::Challenge(_)))), "{claim:?}");
        }
    }
    // It can end it, for the client.
    let closed = server.engine.sessions.close_by_payment(&stolen[1]).await.unwrap();
    assert_eq!(closed.status, RefundStatus::Succeeded);
    assert_eq!(sent(&scene).await[0].0, deposit.return_invoice.payment_hash());
    assert!(scene.addresses.given().is_empty());
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_deposit_is_claimed_with_its_challenge_and_then_opens_nothing() {
    let scene = hasty().await;
    let server = scene.started();
    let deposit = Deposit::paid(&scene, &server).await;
    let opening = deposit.opening(&server, deposit.return_invoice.as_str());
    let view = server.engine.sessions.deposit(&opening).await.unwrap();
    assert_eq!((view.state, view.payment_hash), (PaymentState::Paid, deposit.hash()));
    let claimed = server.engine.sessions.refund_deposit(&opening, Some(address())).await.unwrap();
    assert_eq!((claimed.state, claimed.refund.accrued), (PaymentState::Returned, deposit.offered.deposit));
    assert_eq!(refused(deposit.open(&server).await), PaymentSessionError::DepositEnded);
    let top_up = deposit.topping_up(&server, &Deposit::opened(&scene, &server).await);
    assert_eq!(
        refused(server.engine.sessions.top_up_by_payment(&top_up).await),
        PaymentSessionError::DepositEnded
    );
    let paying = async {
        while server.engine.sessions.deposit(&opening).await.unwrap().refund.state != ObligationState::Paid {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_hours(1), paying).await.unwrap();
    assert_eq!(scene.addresses.given().len(), 1);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_deposit_that_nobody_paid_is_neither_opened_nor_claimed() {
    let scene = Scene::open().await;
    let server = scene.server();
    let offered = server.engine.sessions.offer_deposit(asked()).await.unwrap();
    let header = server.engine.sessions.session_challenge(&offered, "tithe.example").unwrap();
    let challenge = tithe_paywall::payment::Challenge::parse_all(&header).remove(0);
    // Nobody knows its preimage.
    let action = SessionAction::Open { preimage: [9; 32], return_invoice: String::new() };
    assert!(credential(&server, &challenge, &action).is_err());
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_deposit_that_is_not_known_any_more_is_not_found() {
    let scene = Scene::open().await;
    let deposit = Deposit::paid(&scene, &scene.server()).await;
    // The same secrets, and a database that does not have it.
    let elsewhere = Scene::open().await;
    let server = elsewhere.server();
    let (opening, sessions) = (deposit.opening(&server, "lnbc1"), &server.engine.sessions);
    let read = sessions.deposit(&opening).await;
    assert!(matches!(read, Err(EngineError::NotFound { kind: "payment", .. })), "{read:?}");
    let claimed = sessions.refund_deposit(&opening, Some(address())).await;
    assert!(matches!(claimed, Err(EngineError::NotFound { kind: "payment", .. })), "{claimed:?}");
    elsewhere.finish().await;
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_paid_to_the_return_invoice_is_claimed_with_the_challenge() {
    let scene = hasty().await;
    let server = scene.started();
    let mut deposit = Deposit::paid(&scene, &server).await;
    deposit.return_invoice = return_invoice(&scene).await;
    deposit.open(&server).await.unwrap();
    // The invoice expires before the session ends.
    scene.clock.advance(Duration::from_hours(24 * 61));
    server.engine.sessions.sweep().await.unwrap();
    let closed = deposit.close(&server).await.unwrap();
    assert_eq!((closed.status, closed.is_pending), (RefundStatus::Failed, false));
    let opening = deposit.opening(&server, deposit.return_invoice.as_str());
    let view = server.engine.sessions.deposit(&opening).await.unwrap();
    assert!(view.refund.problem.is_some(), "{view:?}");
    server.engine.sessions.refund_deposit(&opening, Some(address())).await.unwrap();
    let paying = async {
        while server.engine.sessions.deposit(&opening).await.unwrap().refund.state != ObligationState::Paid {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_hours(24), paying).await.unwrap();
    assert_eq!(deposit.close(&server).await.unwrap().status, RefundStatus::Succeeded);
    assert_eq!(deposit.balance(&scene).await, Msats::ZERO);
    assert_eq!(closed.refund, deposit.close(&server).await.unwrap().refund);
    assert!(closed.refund < sats(200));
    scene.finish().await;
}
