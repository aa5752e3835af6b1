//! The store goes away while work is under way.

use crate::scene::{Point, Scene};
use std::time::Duration;
use tithe_engine::EngineError;
use tithe_engine::books::Posting;
use tithe_engine::committer::CommitError;
use tithe_jobs::StateName;
use tithe_ledger::{AccountId, LedgerRepository, TransferKey, TransferKind};
use tithe_store_suite::command::Command;
use tithe_store_suite::scene::{fund, msats};
use uuid::Uuid;

#[tokio::test(start_paused = true)]
async fn a_result_that_cannot_be_written_yet_is_written_later_and_made_once() {
    for command in ["evaluation_finish", "work_finish", "invoice_issue"] {
        for gone in [true, false] {
            let scene = Scene::open().await;
            let server = scene.started();
            let id = server.create("hello").await;
            if gone {
                scene.store_faults.commits_unavailable(command, 9);
            } else {
                scene.store_faults.commits_fail(command, 9);
            }
            assert_eq!(scene.pay_through(id).await.state.name(), StateName::Complete);
            assert_eq!(scene.store_faults.to_come(), 0);
            assert_eq!((scene.backend.evaluations(), scene.backend.works()), (1, 1), "{command}");
            scene.finish().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_longer_than_the_lease_costs_no_work() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("hello").await;
    scene.pay_evaluation(id).await;
    let mut gate = scene.backend.gate(Point::WorkEnd);
    scene.pay_work(id).await;
    gate.reached().await;
    scene.store_faults.take_away();
    gate.open();
    tokio::time::sleep(scene.settings.lease * 3).await;
    assert_eq!(scene.state(id).await, StateName::Executing);
    scene.store_faults.mend();
    scene.until_state(id, StateName::Complete).await;
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_payment_whose_credit_cannot_be_written_is_found_again() {
    for gone in [true, false] {
        let scene = Scene::open().await;
        let server = scene.started();
        let id = server.create("hello").await;
        if gone {
            scene.store_faults.commits_unavailable("payment_credit", 4);
        } else {
            scene.store_faults.commits_fail("payment_credit", 4);
        }
        assert_eq!(scene.pay_through(id).await.state.name(), StateName::Complete);
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_cannot_be_written_spares_its_neighbours() {
    let scene = Scene::open().await;
    let server = scene.server();
    let committer = server.engine.committer();
    let account = |n| AccountId::Session(Uuid::from_u128(n));
    let mut gate = scene.store_faults.gate_commit("job_abandon");
    let first = {
        let committer = committer.clone();
        let job = tithe_store_suite::scene::job_id(1);
        tokio::spawn(async move { committer.commit(Command::JobAbandon { job }).await })
    };
    gate.reached().await;
    // While that one is being written, these gather into one batch; the batch fails, the half with the hold, and the hold.
    scene.store_faults.commits_fail("hold_release", 3);
    let hold = tithe_ledger::HoldId(Uuid::from_u128(5));
    let bad = committer.commit(Command::HoldRelease { hold, account: account(1) });
    let (one, two) = (fund(account(1), msats(5)), fund(account(2), msats(6)));
    let all = async { tokio::join!(committer.commit(one), bad, committer.commit(two)) };
    let open = async {
        tokio::task::yield_now().await;
        gate.open();
    };
    let ((one, bad, two), ()) = tokio::join!(all, open);
    assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
    assert!(matches!(bad, Err(CommitError::Failed)), "{bad:?}");
    assert!(matches!(first.await.unwrap(), Err(CommitError::Refused(_))));
    let balance = |n| scene.store.account(account(n));
    assert_eq!(balance(1).await.unwrap().unwrap().balance(), msats(5));
    assert_eq!(balance(2).await.unwrap().unwrap().balance(), msats(6));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn one_bad_command_among_many_is_found_in_a_few_tries_and_the_order_stays() {
    let scene = Scene::open().await;
    let server = scene.server();
    let committer = server.engine.committer();
    let account = AccountId::Session(Uuid::from_u128(1));
    let mut gate = scene.store_faults.gate_commit("job_abandon");
    let job = tithe_store_suite::scene::job_id(1);
    let first = committer.commit(Command::JobAbandon { job });
    // The account holds what it is given, step by step: each command but the bad one needs those before it.
    let steps = (0..200_u64).map(|n| match n {
        0 => fund(account, msats(1)),
        151 => Command::HoldRelease { hold: tithe_ledger::HoldId(Uuid::nil()), account },
        n => Command::Post(Posting {
            key: TransferKey::new(n.to_string()),
            debit: if n % 2 == 0 { AccountId::Operator } else { account },
            credit: if n % 2 == 0 { account } else { AccountId::Revenue },
            amount: msats(1),
            kind: TransferKind::Adjustment,
            reference: Uuid::nil(),
        }),
    });
    // The whole, and each half that holds it: 200, 100, 50, 25, 13, 7, 4, 2, 1 at most.
    scene.store_faults.commits_fail("hold_release", 9);
    let steps = futures_util::future::join_all(steps.map(|command| committer.commit(command)));
    let open = async {
        gate.reached().await;
        tokio::task::yield_now().await;
        gate.open();
    };
    let (_, outcomes, ()) = tokio::join!(first, steps, open);
    let bad: Vec<usize> = (0..200).filter(|n| outcomes[*n].is_err()).collect();
    assert_eq!(bad, [151]);
    assert!(scene.store_faults.to_come() <= 1, "{} tries were left", scene.store_faults.to_come());
    scene.store_faults.mend();
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_stops_listening_does_not_undo_a_queued_command() {
    let scene = Scene::open().await;
    let server = scene.server();
    let account = AccountId::Session(Uuid::from_u128(1));
    let mut gate = scene.store_faults.gate_commit("post");
    let committer = server.engine.committer().clone();
    let caller = tokio::spawn(async move { committer.commit(fund(account, msats(5))).await });
    gate.reached().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    gate.open();
    crate::scene::eventually("it is written", async || scene.store.account(account).await.unwrap()).await;
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn readiness_tells_what_is_away() {
    let scene = Scene::open().await;
    let server = scene.server();
    let all = |readiness: tithe_engine::Readiness| (readiness.database, readiness.wallet, readiness.price);
    assert_eq!(all(server.engine.readiness().await), (Some(true), Some(true), Some(true)));
    tokio::time::sleep(scene.settings.readiness_interval).await;
    scene.prices.set(None);
    scene.store_faults.take_away();
    let slow = tithe_wallet_sim::Fault::Delay(Duration::from_mins(1));
    server.wallet_faults().queue(tithe_wallet_sim::Operation::Balance, slow);
    assert_eq!(all(server.engine.readiness().await), (Some(false), None, Some(false)));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_result_that_the_database_always_refuses_does_not_hold_a_worker_for_ever() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("hello").await;
    // Each attempt is refused eleven times; the third finds the database mended.
    scene.store_faults.commits_fail("work_finish", 22);
    assert_eq!(scene.pay_through(id).await.state.name(), StateName::Complete);
    assert_eq!((scene.backend.works(), scene.store_faults.to_come()), (3, 0));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_result_whose_commit_was_lost_is_written_once_whether_or_not_it_was() {
    for command in ["evaluation_finish", "work_finish", "invoice_issue", "payment_credit"] {
        for happens in [true, false] {
            let scene = Scene::open().await;
            let server = scene.started();
            let id = server.create("hello").await;
            scene.store_faults.commit_lost(command, happens);
            assert_eq!(scene.pay_through(id).await.state.name(), StateName::Complete, "{command} {happens}");
            assert_eq!(scene.store_faults.to_come(), 0);
            assert_eq!((scene.backend.evaluations(), scene.backend.works()), (1, 1), "{command} {happens}");
            scene.finish().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_customer_whose_request_was_lost_learns_its_outcome_with_the_same_key() {
    for command in ["job_create", "invoice_issue"] {
        for happens in [true, false] {
            let scene = Scene::open().await;
            let server = scene.started();
            scene.store_faults.commit_lost(command, happens);
            let lost = server.create_keyed("hello", "k").await;
            assert!(matches!(lost, Err(EngineError::OutcomeUnknown)), "{command} {happens}: {lost:?}");
            let answered = loop {
                match server.create_keyed("hello", "k").await {
                    Ok(answered) => break answered,
                    Err(EngineError::RequestInProgress) => scene.clock.advance(Duration::from_secs(1)),
                    Err(other) => panic!("{command} {happens}: {other:?}"),
                }
            };
            assert_eq!(server.engine.audit().await.unwrap().jobs, 1, "{command} {happens}");
            let id = crate::scene::job_of(&answered);
            assert_eq!(scene.pay_through(id).await.state.name(), StateName::Complete);
            scene.finish().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_outcome_is_unknown_is_not_tried_again_in_parts() {
    let scene = Scene::open().await;
    let server = scene.server();
    let committer = server.engine.committer();
    let account = AccountId::Session(Uuid::from_u128(1));
    scene.store_faults.commit_lost("post", true);
    let lost = committer.commit(fund(account, msats(5))).await;
    assert!(matches!(lost, Err(CommitError::Unknown)), "{lost:?}");
    let again = committer.commit(fund(account, msats(5))).await.unwrap();
    assert_eq!(again, tithe_store_suite::command::Reply::AlreadyDone);
    scene.finish().await;
}
