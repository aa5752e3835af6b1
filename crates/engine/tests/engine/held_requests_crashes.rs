//! A server dies at every step of a request whose payment is held; another one goes on; the dead one turns out to be alive.

use crate::held_requests::{holding, offer, payment, reading};
use crate::paid_requests::{Plainly, proof, work};
use crate::scene::{Answer, Ends, Op, Scene, When};
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::sessions::OfferedRequest;
use tithe_ledger::{Transfer, TransferKind};
use tithe_lightning::{Preimage, TestPaymentError};
use tithe_sessions::SessionRepository;

/// What the customer's wallet says in the end: the payment was taken, or it has come back.
async fn ends(scene: &Scene, offered: &OfferedRequest) -> Result<Preimage, ()> {
    loop {
        match payment(scene, offered).await {
            Ok(preimage) => return Ok(preimage),
            Err(TestPaymentError::Returned(_)) => return Err(()),
            Err(TestPaymentError::Held(_)) => tokio::time::sleep(Duration::from_millis(200)).await,
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// All transfers but the operator's losses.
async fn paid_transfers(scene: &Scene) -> Vec<Transfer> {
    let transfers = scene.transfers().await;
    transfers.into_iter().filter(|transfer| transfer.kind != TransferKind::Uncollected).collect()
}

/// A server dies there while it does a request, or fails to. `None`: whichever of both has happened, it is one of them.
async fn dies_at(op: Op, nth: u32, when: When, fails: bool) {
    let point = format!("{when:?} {op:?} {nth}, fails: {fails}");
    let scene = holding().await;
    if fails {
        // Whoever does the work, and however often.
        for _ in 0..9 {
            scene.backend.say_to_work(Answer::of(&[], Ends::Refused));
        }
    }
    let mut second = reading(scene.server());
    let offered = offer(&second, "hello").await;
    let mut first = reading(scene.server_elsewhere().await);
    first.power.cut_at(op, nth, when);
    first.start();
    assert!(matches!(payment(&scene, &offered).await, Err(TestPaymentError::Held(_))), "{point}");
    let died = tokio::time::timeout(Duration::from_mins(5), first.power.goes_off()).await;
    assert!(died.is_ok(), "never came to {point}");
    second.start();
    scene.clock.advance(scene.settings.lease + Duration::from_secs(1));
    let ended = tokio::time::timeout(Duration::from_mins(5), ends(&scene, &offered)).await;
    let ended = ended.unwrap_or_else(|_| panic!("stuck after {point}"));
    if fails {
        assert!(ended.is_err(), "{point}");
    }
    let response = match &ended {
        Ok(preimage) => {
            let paid = proof(&second, &offered, *preimage);
            let answer = second.engine.sessions.redeem(&paid, work("hello"), Arc::new(Plainly)).await;
            let answer = answer.unwrap_or_else(|failure| panic!("{point}: {failure:?}"));
            assert!(answer.replayed, "{point}: what is paid for was done before");
            Some(answer.response)
        }
        Err(()) => None,
    };
    let transfers = paid_transfers(&scene).await;
    assert_eq!(transfers.is_empty(), ended.is_err(), "{point}: {transfers:?}");
    // The dead server's calls are made after all: they change nothing.
    first.power.mend();
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(paid_transfers(&scene).await, transfers, "{point}");
    let requests = scene.store.session_requests(offered.session, None, 9).await.unwrap();
    assert_eq!(requests.len(), usize::from(ended.is_ok()), "{point}");
    match (ended, response) {
        (Ok(preimage), Some(response)) => {
            let paid = proof(&second, &offered, preimage);
            let again = second.engine.sessions.redeem(&paid, work("hello"), Arc::new(Plainly)).await;
            assert_eq!(again.unwrap().response, response, "{point}");
        }
        _ => {
            assert!(matches!(payment(&scene, &offered).await, Err(TestPaymentError::Returned(_))), "{point}");
        }
    }
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_death_around_any_commit_takes_the_payment_for_the_answer_or_gives_it_back() {
    // Held payment, claim, answer, payment with charge.
    for nth in 1..=4 {
        dies_at(Op::Commit, nth, When::Before, false).await;
        dies_at(Op::Commit, nth, When::After, false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_around_any_commit_of_a_request_that_fails_gives_the_payment_back() {
    for nth in 1..=4 {
        dies_at(Op::Commit, nth, When::Before, true).await;
        dies_at(Op::Commit, nth, When::After, true).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_around_a_call_of_the_wallet_or_the_model_takes_or_gives_back() {
    for (op, nth) in [(Op::Work, 1), (Op::Delta, 1), (Op::Delta, 3), (Op::HoldSettle, 1)] {
        dies_at(op, nth, When::Before, false).await;
        dies_at(op, nth, When::After, false).await;
    }
    dies_at(Op::HoldCancel, 1, When::Before, true).await;
    dies_at(Op::HoldCancel, 1, When::After, true).await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_outcome_is_lost_takes_the_payment_once_or_gives_it_back() {
    for (command, fails) in [
        ("payment_hold", false),
        ("kept_claim", false),
        ("kept_finish", false),
        ("payment_credit", false),
        ("kept_finish", true),
        ("kept_end", true),
    ] {
        for happens in [true, false] {
            let point = format!("{command}, happens: {happens}, fails: {fails}");
            let scene = holding().await;
            let mut server = reading(scene.server());
            server.start();
            let offered = offer(&server, "hello").await;
            if fails {
                scene.backend.say_to_work(Answer::of(&[], Ends::Refused));
            }
            scene.store_faults.commit_lost(command, happens);
            assert!(matches!(payment(&scene, &offered).await, Err(TestPaymentError::Held(_))), "{point}");
            let ended = tokio::time::timeout(Duration::from_mins(5), ends(&scene, &offered)).await;
            let ended = ended.unwrap_or_else(|_| panic!("stuck after {point}"));
            assert_eq!(ended.is_err(), fails, "{point}");
            if let Ok(preimage) = ended {
                let paid = proof(&server, &offered, preimage);
                let answer = server.engine.sessions.redeem(&paid, work("hello"), Arc::new(Plainly)).await;
                assert!(answer.unwrap().replayed, "{point}");
            }
            let requests = scene.store.session_requests(offered.session, None, 9).await.unwrap();
            assert_eq!(requests.len(), usize::from(!fails), "{point}");
            assert_eq!(scene.backend.works(), 1, "{point}");
            scene.finish().await;
        }
    }
}
