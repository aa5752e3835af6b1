//! A server dies at every step of a job whose payment is held; another one takes over; the dead one turns out to be alive.

use crate::held_jobs::asking_held;
use crate::scene::{Answer, Ends, Op, Scene, Server, When, job_of, keyed};
use std::sync::Arc;
use std::time::Duration;
use tithe_jobs::{Job, JobId, StateName, WorkPayment};
use tithe_ledger::{Transfer, TransferKind};
use tithe_lightning::{TestPayer, TestPaymentError};

/// A customer who asks under a key, and pays whatever is asked for until the job has ended.
async fn buy(scene: &Scene, server: Arc<Server>) -> JobId {
    let asking =
        tokio::spawn(
            async move { server.create_with(asking_held("hello"), Some(keyed("hello", "k"))).await },
        );
    let id = job_of(&asking.await.unwrap().unwrap());
    loop {
        let job = scene.job(id).await;
        if job.state.name().is_terminal() {
            return id;
        }
        for hash in [job.evaluation_invoice(), job.state.work_invoice()].into_iter().flatten() {
            let invoice = scene.invoice(hash).await;
            // What was paid before is not paid again: the customer's wallet sees to that.
            let _paid_before = scene.wallet.pay(&invoice.payment_request.parse().unwrap()).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// All transfers but the operator's losses.
async fn paid_transfers(scene: &Scene) -> Vec<Transfer> {
    let transfers = scene.transfers().await;
    transfers.into_iter().filter(|transfer| transfer.kind != TransferKind::Uncollected).collect()
}

/// Never both, and never neither: the work is delivered and its payment taken, or it has failed and the payment went back.
pub async fn assert_one_of_both(scene: &Scene, job: &Job, point: &str) {
    let hash = job.state.work_invoice().unwrap();
    let invoice = scene.invoice(hash).await;
    let payment = scene.wallet.pay(&invoice.payment_request.parse().unwrap()).await;
    match job.state.name() {
        // The wallet has refused to make a hold invoice.
        StateName::Complete if job.work_payment == WorkPayment::Prepaid => {
            assert!(matches!(payment, Err(TestPaymentError::AlreadyPaid(_))), "{point}: {payment:?}");
        }
        StateName::Complete => assert_eq!(payment.unwrap().payment_hash(), hash, "{point}"),
        StateName::Failed => {
            assert!(matches!(payment, Err(TestPaymentError::Returned(_))), "{point}: {payment:?}");
        }
        other => panic!("{point}: {other}"),
    }
}

/// A server dies there while it serves work that is done, or that fails.
async fn dies_at(op: Op, nth: u32, when: When, fails: bool) {
    let scene = Scene::open().await;
    if fails {
        // Whoever does the work, and however often.
        for _ in 0..9 {
            scene.backend.say_to_work(Answer::of(&[], Ends::Refused));
        }
    }
    let mut first = scene.server_elsewhere().await;
    first.power.cut_at(op, nth, when);
    first.start();
    let first = Arc::new(first);
    let point = format!("{when:?} {op:?} {nth}, fails: {fails}");
    tokio::select! {
        _ = buy(&scene, first.clone()) => {
            // The last step may be the end of the job.
            first.power.goes_off().await;
        }
        () = first.power.goes_off() => {}
        () = tokio::time::sleep(Duration::from_mins(5)) => panic!("never came to {point}"),
    }
    let second = Arc::new(scene.started());
    scene.clock.advance(scene.settings.lease + Duration::from_secs(1));
    let bought = tokio::time::timeout(Duration::from_mins(5), buy(&scene, second.clone())).await;
    let id = bought.unwrap_or_else(|_| panic!("stuck after {point}"));
    let job = scene.job(id).await;
    let expected = if fails { StateName::Failed } else { StateName::Complete };
    assert_eq!(job.state.name(), expected, "{point}");
    assert_one_of_both(&scene, &job, &point).await;
    let transfers = paid_transfers(&scene).await;
    // The dead server's calls are made after all: they change nothing.
    first.power.mend();
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(scene.job(id).await, job, "{point}");
    assert_eq!(paid_transfers(&scene).await, transfers, "{point}");
    assert_one_of_both(&scene, &job, &point).await;
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_death_around_any_commit_of_work_whose_payment_is_held_takes_the_payment_once() {
    // Job, fee invoice, fee, verdict, hold invoice, held payment, result, payment with charge.
    for nth in 1..=8 {
        dies_at(Op::Commit, nth, When::Before, false).await;
        dies_at(Op::Commit, nth, When::After, false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_around_any_commit_of_held_work_that_fails_gives_the_payment_back() {
    for nth in 6..=8 {
        dies_at(Op::Commit, nth, When::Before, true).await;
        dies_at(Op::Commit, nth, When::After, true).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_around_a_call_of_the_wallet_or_the_model_takes_or_gives_back() {
    for (op, nth) in [(Op::Mint, 2), (Op::Work, 1), (Op::Delta, 3), (Op::HoldSettle, 1)] {
        dies_at(op, nth, When::Before, false).await;
        dies_at(op, nth, When::After, false).await;
    }
    dies_at(Op::HoldCancel, 1, When::Before, true).await;
    dies_at(Op::HoldCancel, 1, When::After, true).await;
}
