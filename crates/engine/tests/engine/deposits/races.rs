//! Many at once, on two servers.

use super::{Deposit, hasty, refused, request, sats, sent};
use crate::scene::{Point, Scene};
use std::sync::Arc;
use tithe_engine::EngineError;
use tithe_engine::sessions::{PaymentSessionError, TopUpOutcome};
use tithe_ledger::TransferKind;
use tithe_money::Msats;
use tithe_paywall::payment::RefundStatus;
use tithe_sessions::SessionRepository;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn opened_often_at_once_it_is_one_session_and_its_request_is_done_once() {
    let scene = Scene::open().await;
    let servers = [Arc::new(scene.server()), Arc::new(scene.server_elsewhere().await)];
    let deposit = Deposit::paid(&scene, &servers[0]).await;
    let mut opening = JoinSet::new();
    for n in 0..64 {
        let (server, deposit) = (servers[n % 2].clone(), deposit.clone());
        let credential = deposit.opening(&server, deposit.return_invoice.as_str());
        opening.spawn(async move { request(&server, &credential, "hello").await });
    }
    let mut answers = Vec::new();
    for result in opening.join_all().await {
        match result {
            Ok(answer) => answers.push(answer),
            Err(EngineError::RequestInProgress) => {}
            Err(failure) => panic!("{failure:?}"),
        }
    }
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| answer.response == answers[0].response));
    assert_eq!(scene.backend.works(), 1);
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn opened_at_once_with_several_return_invoices_one_is_set() {
    let scene = Scene::open().await;
    let servers = [Arc::new(scene.server()), Arc::new(scene.server_elsewhere().await)];
    let deposit = Deposit::paid(&scene, &servers[0]).await;
    let mut opening = JoinSet::new();
    for n in 0..16 {
        let (server, invoice) = (servers[n % 2].clone(), super::return_invoice(&scene).await);
        let credential = deposit.opening(&server, invoice.as_str());
        opening.spawn(async move {
            (invoice, server.engine.sessions.open_payment_session(&credential).await.map(drop))
        });
    }
    let kept = {
        let results = opening.join_all().await;
        let mut kept: Vec<_> =
            results.iter().filter(|(_, result)| result.is_ok()).map(|(invoice, _)| invoice.clone()).collect();
        for (_, result) in results.into_iter().filter(|(_, result)| result.is_err()) {
            assert_eq!(refused(result), PaymentSessionError::UsedForAnotherRequest);
        }
        assert_eq!(kept.len(), 1);
        kept.remove(0)
    };
    assert_eq!(deposit.session(&scene).await.kind.return_invoice(), Some(kept.as_str()));
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_top_up_often_at_once_is_one_move() {
    let scene = Scene::open().await;
    let servers = [Arc::new(scene.server()), Arc::new(scene.server_elsewhere().await)];
    let (session, top_up) =
        (Deposit::opened(&scene, &servers[0]).await, Deposit::paid(&scene, &servers[0]).await);
    let mut moving = JoinSet::new();
    for n in 0..64 {
        let (server, credential) = (servers[n % 2].clone(), top_up.topping_up(&servers[0], &session));
        moving.spawn(async move { server.engine.sessions.top_up_by_payment(&credential).await });
    }
    for outcome in moving.join_all().await {
        assert_eq!(outcome.unwrap(), TopUpOutcome::Credited);
    }
    assert_eq!(session.balance(&scene).await, sats(400).to_msats());
    let moves = scene.transfers().await;
    assert_eq!(moves.iter().filter(|transfer| transfer.kind == TransferKind::DepositMoved).count(), 1);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_top_up_and_a_close_at_once_lose_nothing() {
    for _ in 0..8 {
        let scene = hasty().await;
        let servers = [Arc::new(scene.started()), Arc::new(scene.server_elsewhere().await)];
        let (session, top_up) =
            (Deposit::opened(&scene, &servers[0]).await, Deposit::paid(&scene, &servers[0]).await);
        let credential = top_up.topping_up(&servers[1], &session);
        let closing = session.closing(&servers[0]).await;
        let (closed, moved) = tokio::join!(
            servers[0].engine.sessions.close_by_payment(&closing),
            servers[1].engine.sessions.top_up_by_payment(&credential)
        );
        let (closed, moved) = (closed.unwrap(), moved.unwrap());
        assert_eq!(closed.status, RefundStatus::Succeeded);
        let whole = |sats: u64| scene.settings.payout_fees.quote(super::sats(sats)).unwrap().payable;
        let expected = if moved == TopUpOutcome::Credited { whole(400) } else { whole(200) };
        assert_eq!(closed.refund, expected);
        let due = servers[0].engine.sessions.deposit(&credential).await.unwrap().refund.accrued;
        assert_eq!(due.get(), if moved == TopUpOutcome::Credited { 0 } else { 200 });
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_deposit_opened_and_used_as_a_top_up_at_once_is_one_of_them() {
    for _ in 0..8 {
        let scene = Scene::open().await;
        let servers = [scene.server(), scene.server_elsewhere().await];
        let (session, deposit) =
            (Deposit::opened(&scene, &servers[0]).await, Deposit::paid(&scene, &servers[0]).await);
        let credential = deposit.topping_up(&servers[1], &session);
        let (opened, moved) = tokio::join!(
            deposit.open(&servers[0]),
            servers[1].engine.sessions.top_up_by_payment(&credential)
        );
        assert!(opened.is_ok() != moved.is_ok(), "{opened:?} {moved:?}");
        let both = session.balance(&scene).await.checked_add(deposit.balance(&scene).await).unwrap();
        assert_eq!(both, sats(400).to_msats());
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_closed_while_a_request_runs_is_refunded_once_when_that_has_ended() {
    let scene = hasty().await;
    let server = Arc::new(scene.started());
    let deposit = Deposit::opened(&scene, &server).await;
    let mut gate = scene.backend.gate(Point::Work);
    let bearing = deposit.bearing(&server).await;
    let running = tokio::spawn({
        let server = server.clone();
        async move { request(&server, &bearing, "hello").await }
    });
    gate.reached().await;
    let closing = deposit.closing(&server).await;
    let closing = tokio::spawn({
        let server = server.clone();
        async move { server.engine.sessions.close_by_payment(&closing).await }
    });
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(sent(&scene).await, [], "the return invoice can be paid once");
    // Nor is another destination named meanwhile.
    let opening = deposit.opening(&server, deposit.return_invoice.as_str());
    let address = Some("alice@example.com".parse().unwrap());
    let claimed = server.engine.sessions.refund_deposit(&opening, address).await;
    assert!(matches!(claimed, Err(EngineError::PaidRequest(_))), "{claimed:?}");
    gate.open();
    running.await.unwrap().unwrap();
    let closed = closing.await.unwrap().unwrap();
    assert_eq!(closed.status, RefundStatus::Succeeded);
    assert_eq!(sent(&scene).await, [(deposit.return_invoice.payment_hash(), closed.refund.to_msats())]);
    assert_eq!(deposit.balance(&scene).await, Msats::ZERO);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_top_up_of_a_session_that_is_just_ending_leaves_it_its_return_invoice() {
    let scene = hasty().await;
    let server = Arc::new(scene.started());
    let (deposit, top_up) = (Deposit::opened(&scene, &server).await, Deposit::paid(&scene, &server).await);
    let mut gate = scene.backend.gate(Point::Work);
    let bearing = deposit.bearing(&server).await;
    let running = tokio::spawn({
        let server = server.clone();
        async move { request(&server, &bearing, "hello").await }
    });
    gate.reached().await;
    let closing = deposit.closing(&server).await;
    let closing = tokio::spawn({
        let server = server.clone();
        async move { server.engine.sessions.close_by_payment(&closing).await }
    });
    let ended = async || scene.store.session(deposit.offered.session).await.unwrap().unwrap().end().map(drop);
    crate::scene::eventually("the session has ended, and its request runs", ended).await;
    let credential = top_up.topping_up(&server, &deposit);
    let outcome = server.engine.sessions.top_up_by_payment(&credential).await.unwrap();
    assert_eq!(outcome, TopUpOutcome::Ended);
    let view = server.engine.sessions.deposit(&credential).await.unwrap();
    assert!(!view.refund.has_destination, "{view:?}");
    gate.open();
    running.await.unwrap().unwrap();
    let closed = closing.await.unwrap().unwrap();
    assert_eq!(closed.status, RefundStatus::Succeeded);
    assert_eq!(sent(&scene).await, [(deposit.return_invoice.payment_hash(), closed.refund.to_msats())]);
    let view = server.engine.sessions.deposit(&credential).await.unwrap();
    assert_eq!(view.refund.quote.due.to_msats(), view.paid, "what topped up is due as a whole");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_close_says_that_a_refund_is_under_way_if_it_takes_long() {
    let scene = hasty().await;
    let server = scene.server();
    let deposit = Deposit::opened(&scene, &server).await;
    // Nobody pays anything out.
    let closed = deposit.close(&server).await.unwrap();
    assert_eq!((closed.status, closed.is_pending), (RefundStatus::Failed, true));
    let other = scene.started();
    let again = deposit.close(&other).await.unwrap();
    assert_eq!((again.status, again.refund), (RefundStatus::Succeeded, closed.refund));
    scene.finish().await;
}
