//! Deposits that top a session up.

use super::{Deposit, hasty, refused, request, sats, sent};
use crate::scene::Scene;
use std::time::Duration;
use tithe_engine::sessions::{PaymentSessionError, PaymentState, TopUpOutcome};
use tithe_ledger::TransferKind;
use tithe_money::{Msats, Sats};
use tithe_payouts::ObligationState;
use tithe_paywall::payment::RefundStatus;

#[tokio::test(start_paused = true)]
async fn a_deposit_tops_a_session_up_once_whoever_pays_it() {
    let scene = Scene::open().await;
    let server = scene.server();
    let (session, top_up) = (Deposit::opened(&scene, &server).await, Deposit::paid(&scene, &server).await);
    let other = Deposit::opened(&scene, &server).await;
    let credential = top_up.topping_up(&server, &session);
    for _ in 0..3 {
        let outcome = server.engine.sessions.top_up_by_payment(&credential).await.unwrap();
        assert_eq!(outcome, TopUpOutcome::Credited);
    }
    assert_eq!(session.balance(&scene).await, sats(400).to_msats());
    assert_eq!(top_up.balance(&scene).await, Msats::ZERO);
    let moved: Vec<_> = scene.transfers().await;
    assert_eq!(moved.iter().filter(|transfer| transfer.kind == TransferKind::DepositMoved).count(), 1);
    // It is used up: it tops no other session up, opens none, and is not claimed.
    let elsewhere = server.engine.sessions.top_up_by_payment(&top_up.topping_up(&server, &other)).await;
    assert_eq!(refused(elsewhere), PaymentSessionError::UsedForAnotherRequest);
    assert_eq!(refused(top_up.open(&server).await), PaymentSessionError::UsedForAnotherRequest);
    let address = Some("mallory@example.com".parse().unwrap());
    let claimed = server.engine.sessions.refund_deposit(&credential, address).await;
    let claimed = claimed.map(|view| (view.state, view.refund.accrued));
    assert_eq!(claimed.unwrap(), (PaymentState::Used, Sats::ZERO));
    assert_eq!(session.balance(&scene).await, sats(400).to_msats());
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_top_up_needs_an_open_session_and_a_deposit_that_is_not_one() {
    let scene = Scene::open().await;
    let server = scene.server();
    let (session, unopened) = (Deposit::opened(&scene, &server).await, Deposit::paid(&scene, &server).await);
    let top_up = async |deposit: &Deposit, session: &Deposit| {
        server.engine.sessions.top_up_by_payment(&deposit.topping_up(&server, session)).await
    };
    assert_eq!(refused(top_up(&unopened, &unopened).await), PaymentSessionError::NotOpened);
    let another = Deposit::paid(&scene, &server).await;
    assert_eq!(refused(top_up(&another, &unopened).await), PaymentSessionError::NotOpened);
    for opened in [&session, &Deposit::opened(&scene, &server).await] {
        assert_eq!(refused(top_up(opened, &session).await), PaymentSessionError::UsedForAnotherRequest);
    }
    assert_eq!(another.balance(&scene).await, sats(200).to_msats());
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_top_up_of_a_session_that_has_ended_is_refunded_or_stays_due_and_is_never_lost() {
    for is_paid_out in [false, true] {
        let scene = hasty().await;
        let server = if is_paid_out { scene.started() } else { scene.server() };
        let (session, top_up) =
            (Deposit::opened(&scene, &server).await, Deposit::paid(&scene, &server).await);
        if is_paid_out {
            assert_eq!(session.close(&server).await.unwrap().status, RefundStatus::Succeeded);
        } else {
            scene.clock.advance(scene.settings.payment_session_idle + Duration::from_secs(1));
            server.engine.sessions.sweep().await.unwrap();
        }
        let credential = top_up.topping_up(&server, &session);
        for _ in 0..2 {
            let outcome = server.engine.sessions.top_up_by_payment(&credential).await.unwrap();
            assert_eq!(outcome, TopUpOutcome::Ended);
        }
        let view = server.engine.sessions.deposit(&credential).await.unwrap();
        assert_eq!((view.refund.accrued, view.charged), (sats(200), Msats::ZERO));
        // The return invoice was or will be paid for the session, and can be paid once: the challenge of the deposit claims it.
        assert!(!view.refund.has_destination);
        assert_eq!(view.state, PaymentState::Returned);
        if is_paid_out {
            let address = Some("alice@example.com".parse().unwrap());
            server.engine.sessions.refund_deposit(&credential, address).await.unwrap();
            let paying = async {
                let state = async || server.engine.sessions.deposit(&credential).await.unwrap().refund.state;
                while state().await != ObligationState::Paid {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            };
            tokio::time::timeout(Duration::from_hours(1), paying).await.unwrap();
            assert_eq!(sent(&scene).await.len(), 2);
        }
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_without_enough_serves_again_after_a_top_up() {
    let scene = Scene::open().await;
    let server = scene.server();
    let (session, top_up) = (Deposit::opened(&scene, &server).await, Deposit::paid(&scene, &server).await);
    // It is spent by requests until one is refused.
    let mut answers = 0_u32;
    let refused = loop {
        super::say(&scene, 200);
        match request(&server, &session.bearing(&server).await, "hello").await {
            Ok(_) => answers += 1,
            Err(refused) => break refused,
        }
        assert!(answers < 1_000);
    };
    assert!(matches!(refused, tithe_engine::EngineError::InsufficientBalance { .. }), "{refused:?}");
    let credential = top_up.topping_up(&server, &session);
    server.engine.sessions.top_up_by_payment(&credential).await.unwrap();
    request(&server, &session.bearing(&server).await, "hello").await.unwrap();
    scene.finish().await;
}
