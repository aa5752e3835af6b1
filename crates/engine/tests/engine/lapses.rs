//! Invoices lapse while payments arrive.

use crate::scene::{Moved, Scene, Server, poll_all};
use std::time::Duration;
use tithe_jobs::{JobId, StateName};
use tithe_lightning::TestPayer;

const JUST_AFTER: Duration = Duration::from_secs(1);

impl Scene {
    /// Brings a job to where one of its invoices is to be paid.
    async fn job_waiting(&self, server: &Server, for_work: bool) -> JobId {
        let id = server.create("hello").await;
        if for_work {
            self.pay_evaluation(id).await;
            server.engine.payments.poll().await.unwrap();
            let mut worker = self.server();
            worker.start();
            self.until_state(id, StateName::AwaitingWorkPayment).await;
            worker.stop(Duration::from_mins(1)).await;
        }
        id
    }
}

#[tokio::test(start_paused = true)]
async fn a_payment_in_time_that_is_seen_only_after_the_expiry_is_in_time() {
    for for_work in [false, true] {
        let scene = Scene::open().await;
        let server = scene.server();
        let id = scene.job_waiting(&server, for_work).await;
        let hash = asked(&scene, id).await;
        scene.pay(hash).await;
        scene.clock.advance(scene.settings.invoice_expiry + JUST_AFTER);
        poll_all(&server.engine).await;
        let next = if for_work { StateName::Executing } else { StateName::Evaluating };
        assert_eq!(scene.state(id).await, next);
        let _worker = scene.started();
        if for_work {
            scene.until_state(id, StateName::Complete).await;
        } else {
            scene.pay_work(id).await;
            scene.until_state(id, StateName::Complete).await;
        }
        scene.finish().await;
    }
}

async fn asked(scene: &Scene, id: JobId) -> tithe_lightning::PaymentHash {
    let job = scene.job(id).await;
    job.state.work_invoice().or(job.evaluation_invoice()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_payment_that_arrives_after_the_invoice_was_given_up_is_owed_back_in_full() {
    for for_work in [false, true] {
        let scene = Scene::open().await;
        let server = scene.server();
        let id = scene.job_waiting(&server, for_work).await;
        let hash = asked(&scene, id).await;
        let before = scene.moved(id).await;
        let slow = scene.wallet_whose_clock_stands().await;
        scene.clock.advance(scene.settings.invoice_expiry + JUST_AFTER);
        server.engine.payments.poll().await.unwrap();
        assert_eq!(scene.state(id).await, StateName::Expired);
        let invoice = scene.invoice(hash).await;
        slow.pay(&invoice.payment_request.parse().unwrap()).await.unwrap();
        server.engine.payments.poll().await.unwrap();
        assert_eq!(scene.moved(id).await, before, "only a late poll looks at lapsed invoices");
        poll_all(&server.engine).await;
        poll_all(&server.engine).await;
        let amount = invoice.amount.get();
        let owed = Moved { paid: before.paid + amount, owed: before.owed + amount, ..before };
        assert_eq!(scene.moved(id).await, owed);
        assert_eq!(scene.state(id).await, StateName::Expired);
        assert_eq!(scene.backend.works(), 0);
        scene.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_payment_that_races_the_lapse_is_credited_or_owed_back_and_never_both() {
    let scene = Scene::open().await;
    let servers = [scene.server(), scene.server()];
    let slow = scene.wallet_whose_clock_stands().await;
    let mut jobs = Vec::new();
    for n in 0..40 {
        jobs.push(servers[n % 2].create(&format!("question {n}")).await);
    }
    scene.clock.advance(scene.settings.invoice_expiry + JUST_AFTER);
    let pay_all = async {
        for id in &jobs {
            let invoice = scene.invoice(scene.job(*id).await.evaluation_invoice().unwrap()).await;
            slow.pay(&invoice.payment_request.parse().unwrap()).await.unwrap();
            servers[0].engine.payments.invoice(invoice.payment_hash).await.unwrap();
        }
    };
    let poll = async {
        for _ in 0..4 {
            poll_all(&servers[1].engine).await;
        }
    };
    tokio::join!(pay_all, poll);
    for server in &servers {
        poll_all(&server.engine).await;
    }
    for id in jobs {
        let job = scene.job(id).await;
        let fee = job.evaluation_fee().to_msats().get();
        let owed = match job.state.name() {
            StateName::Expired => fee,
            StateName::Evaluating => 0,
            other => panic!("{other:?}"),
        };
        assert_eq!(scene.moved(id).await, Moved { paid: fee, owed, ..Moved::default() });
    }
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_lapse_that_is_already_decided_loses_to_a_payment_that_was_written_first() {
    let scene = Scene::open().await;
    let server = scene.server();
    let id = server.create("hello").await;
    let hash = asked(&scene, id).await;
    let slow = scene.wallet_whose_clock_stands().await;
    scene.clock.advance(scene.settings.invoice_expiry + JUST_AFTER);
    let mut lapse = scene.store_faults.gate_commit("invoice_expire");
    let reader = tokio::spawn({
        let engine = server.engine.clone();
        async move { engine.jobs.view(id).await.map(|view| view.job.state.name()) }
    });
    lapse.reached().await;
    slow.pay(&scene.invoice(hash).await.payment_request.parse().unwrap()).await.unwrap();
    scene.server().engine.payments.poll().await.unwrap();
    assert_eq!(scene.state(id).await, StateName::Evaluating);
    lapse.open();
    assert_eq!(reader.await.unwrap().unwrap(), StateName::Evaluating, "the reader sees what has happened");
    assert_eq!(scene.state(id).await, StateName::Evaluating);
    scene.finish().await;
}
