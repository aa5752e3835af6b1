//! Payments are reported from everywhere at once, or from one side only.

use crate::scene::{Scene, Server, poll_all};
use std::time::Duration;
use tithe_engine::EngineError;
use tithe_jobs::{JobId, StateName};
use tithe_lightning::{InvoiceStatus, PaymentHash, Preimage, ReceivedPayment, Wallet};
use tithe_money::Msats;
use tokio::task::JoinSet;

async fn settlement(scene: &Scene, hash: PaymentHash) -> ReceivedPayment {
    match scene.wallet.invoice_status(hash).await.unwrap() {
        Some(InvoiceStatus::Settled(settlement)) => settlement,
        other => panic!("{other:?}"),
    }
}

/// Reports one payment 64 times at once, in four ways.
async fn report_all_at_once(scene: &Scene, servers: &[Server], job: JobId, hash: PaymentHash) {
    let settlement = settlement(scene, hash).await;
    let mut reports = JoinSet::new();
    for n in 0..64 {
        let engine = servers[n % servers.len()].engine.clone();
        let settlement = settlement.clone();
        reports.spawn(async move {
            match n / 2 % 4 {
                0 => engine.payments.credit(settlement).await.unwrap(),
                1 => drop(engine.jobs.view(job).await.unwrap()),
                2 => drop(engine.payments.invoice(hash).await.unwrap()),
                _ => poll_all(&engine).await,
            }
        });
    }
    while let Some(done) = reports.join_next().await {
        done.unwrap();
    }
    let key = format!("payment:{hash}");
    let credits = scene.transfers().await.iter().filter(|t| t.key.as_str() == key).count();
    assert_eq!(credits, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_payment_that_is_reported_64_times_at_once_is_credited_once() {
    let scene = Scene::open().await;
    let servers = [scene.started(), scene.started()];
    for round in 0..4 {
        let id = servers[0].create(&format!("question {round}")).await;
        let hash = scene.job(id).await.evaluation_invoice().unwrap();
        scene.pay(hash).await;
        report_all_at_once(&scene, &servers, id, hash).await;
        let hash = scene.pay_work(id).await.state.work_invoice().unwrap();
        report_all_at_once(&scene, &servers, id, hash).await;
        scene.until_state(id, StateName::Complete).await;
    }
    assert_eq!((scene.backend.evaluations(), scene.backend.works()), (4, 4));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_wallets_events_alone_move_a_job_at_once() {
    let mut scene = Scene::open().await;
    scene.settings.poll_interval = Duration::from_hours(9);
    let server = scene.started();
    let id = server.create("hello").await;
    // The first poll, and the listener, have had their turn.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let paid = tokio::time::Instant::now();
    scene.pay_through(id).await;
    assert_eq!(scene.state(id).await, StateName::Complete);
    assert!(paid.elapsed() < Duration::from_secs(1), "{:?}", paid.elapsed());
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn with_a_silent_wallet_polling_finds_the_payments() {
    let scene = Scene::open().await;
    scene.wallet.faults().silence_settlements(true);
    let server = scene.started();
    let id = server.create("hello").await;
    assert_eq!(scene.pay_through(id).await.state.name(), StateName::Complete);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn with_a_silent_wallet_and_no_polling_reading_the_job_finds_the_payment() {
    let scene = Scene::open().await;
    let server = scene.server();
    let id = server.create("hello").await;
    scene.pay_evaluation(id).await;
    assert_eq!(scene.state(id).await, StateName::AwaitingEvalPayment);
    let view = server.engine.jobs.view(id).await.unwrap();
    assert_eq!(view.job.state.name(), StateName::Evaluating);
    assert_eq!(view.eval_invoice.unwrap().state.as_str(), "paid");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_payment_of_somebody_elses_invoice_changes_nothing() {
    let scene = Scene::open().await;
    let server = scene.server();
    let preimage = Preimage::from_bytes([9; 32]);
    let foreign = ReceivedPayment {
        payment_hash: preimage.payment_hash(),
        amount: Msats::new(5_000).unwrap(),
        liquidity_fee: Msats::ZERO,
        preimage: Some(preimage),
        received_at: tithe_clock::Clock::now(scene.clock.as_ref()),
    };
    let refused = server.engine.payments.credit(foreign).await;
    assert!(matches!(refused, Err(EngineError::NotFound { kind: "invoice", .. })));
    assert_eq!(scene.transfers().await, []);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_report_with_a_false_preimage_is_not_believed() {
    let scene = Scene::open().await;
    let server = scene.server();
    let id = server.create("hello").await;
    let invoice = scene.invoice(scene.job(id).await.evaluation_invoice().unwrap()).await;
    let lie = ReceivedPayment {
        payment_hash: invoice.payment_hash,
        amount: invoice.amount,
        liquidity_fee: Msats::ZERO,
        preimage: Some(Preimage::from_bytes([9; 32])),
        received_at: invoice.created_at,
    };
    assert!(server.engine.payments.credit(lie).await.is_err());
    assert_eq!(scene.state(id).await, StateName::AwaitingEvalPayment);
    scene.finish().await;
}
