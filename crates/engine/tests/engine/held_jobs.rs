//! Work whose payment is held: it is taken when the work is done, and given back when it fails.

use crate::scene::{
    Answer, Call, CallFault, Ends, Point, Port, Scene, Server, When, asking, eventually, job_of, somebody,
};
use std::time::Duration;
use tithe_clock::Clock;
use tithe_engine::jobs::{JobCursor, JobUpdate, NewJobRequest};
use tithe_jobs::{Job, JobId, JobRepository, JobState, Refund, StateName, WorkPayment};
use tithe_ledger::TransferKind;
use tithe_lightning::{InvoiceState, PaymentHash, Preimage, TestPayer, TestPaymentError};
use tithe_money::{Msats, Sats};
use tithe_wallet_sim::{Fault, Operation};

const SETTLE: Call = Call { port: Port::Wallet, name: "hold_invoice_settle" };
const CANCEL: Call = Call { port: Port::Wallet, name: "hold_invoice_cancel" };

/// A request for a job whose work is paid with a hold invoice.
pub fn asking_held(request: &str) -> NewJobRequest {
    NewJobRequest { payment: WorkPayment::Held, ..asking(request) }
}

async fn create_held(server: &Server, request: &str) -> JobId {
    job_of(&server.create_with(asking_held(request), None).await.unwrap())
}

/// The customer's wallet: it pays, or says what has become of its payment.
async fn payment(scene: &Scene, hash: PaymentHash) -> Result<Preimage, TestPaymentError> {
    let invoice = scene.invoice(hash).await;
    scene.wallet.pay(&invoice.payment_request.parse().unwrap()).await
}

/// The customer pays for the work, and their wallet waits.
async fn pay_work_held(scene: &Scene, id: JobId) -> PaymentHash {
    let job = scene.until_state(id, StateName::AwaitingWorkPayment).await;
    let hash = job.state.work_invoice().unwrap();
    assert!(matches!(payment(scene, hash).await, Err(TestPaymentError::Held(_))));
    hash
}

async fn ended(scene: &Scene, id: JobId) -> Job {
    scene.until(id, |job| job.state.name().is_terminal()).await
}

/// The job has failed, and its customer has their money for the work.
async fn assert_given_back(scene: &Scene, id: JobId, hash: PaymentHash) -> String {
    let job = ended(scene, id).await;
    let JobState::Failed { message, .. } = &job.state else { panic!("{:?}", job.state) };
    assert_eq!(job.refund, Refund::NotApplicable, "nothing was received, so nothing is due");
    let returned = payment(scene, hash).await;
    assert!(matches!(returned, Err(TestPaymentError::Returned(_))), "{returned:?}");
    assert_eq!(scene.moved(id).await.paid, job.evaluation_fee().to_msats().get());
    message.clone()
}

/// What nobody has paid for of a job, in msats.
async fn uncollected(scene: &Scene, id: JobId) -> u64 {
    let transfers = scene.transfers().await;
    let of_job = transfers.iter().filter(|it| it.kind == TransferKind::Uncollected && it.reference == id.0);
    of_job.map(|transfer| transfer.amount.get()).sum()
}

#[tokio::test(start_paused = true)]
async fn a_held_payment_is_taken_when_the_work_is_done_and_not_before() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = create_held(&server, "hello").await;
    let mut gate = scene.backend.gate(Point::Work);
    scene.pay_evaluation(id).await;
    let hash = pay_work_held(&scene, id).await;
    gate.reached().await;
    let job = scene.job(id).await;
    assert!(matches!(job.state, JobState::Held { .. }), "{:?}", job.state);
    assert_eq!(job.state.name(), StateName::Executing);
    let fee = job.evaluation_fee().to_msats().get();
    assert_eq!(scene.moved(id).await.paid, fee, "nobody has received the payment for the work");
    assert_eq!(server.wallet_balance().await.get(), fee);
    assert!(matches!(payment(&scene, hash).await, Err(TestPaymentError::Held(_))));
    gate.open();
    let job = scene.until_state(id, StateName::Complete).await;
    assert_eq!(payment(&scene, hash).await.unwrap().payment_hash(), hash);
    assert!(matches!(scene.invoice(hash).await.state, InvoiceState::Paid { .. }));
    let amount = job.state.work().unwrap().amount.to_msats().get();
    assert_eq!(scene.moved(id).await.paid, fee + amount);
    assert!(!job.refund.amount().is_zero(), "what was not used is due");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_text_is_not_delivered_before_it_is_paid_for() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = create_held(&server, "[sim:slow=40]").await;
    let mut follower = server.engine.jobs.follow(id, JobCursor::default()).await.unwrap();
    let (mut states, mut texts) = (Vec::new(), 0);
    // The wallet cannot settle for a while.
    for _ in 0..9 {
        server.wallet_faults().queue(Operation::HoldInvoiceSettle, Fault::Fail);
    }
    let paying = async {
        scene.pay_evaluation(id).await;
        pay_work_held(&scene, id).await;
        scene.until(id, |job| matches!(job.state, JobState::Settling { .. })).await;
        let view = server.engine.jobs.view(id).await.unwrap();
        assert_eq!(view.job.state.name(), StateName::Executing);
    };
    let following = async {
        while let Some((_, update)) = follower.next().await.unwrap() {
            match update {
                JobUpdate::Step { change, .. } => states.push(change.state),
                JobUpdate::Text(_) => texts += 1,
            }
        }
    };
    tokio::join!(paying, following);
    assert_eq!(texts, 0);
    let expected = [
        StateName::AwaitingEvalPayment,
        StateName::Evaluating,
        StateName::AwaitingWorkPayment,
        StateName::Executing,
        StateName::Complete,
    ];
    assert_eq!(states, expected);
    assert_eq!(scene.backend.works(), 1);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_payment_is_given_back_when_the_work_fails() {
    for ends in [Ends::Refused, Ends::Finished(None)] {
        let scene = Scene::open().await;
        let server = scene.started();
        let id = create_held(&server, "hello").await;
        scene.pay_evaluation(id).await;
        scene.backend.say_to_work(Answer::of(&[], ends));
        let hash = pay_work_held(&scene, id).await;
        let message = assert_given_back(&scene, id, hash).await;
        assert!(message.ends_with("The payment for it was not taken."), "{message}");
        assert_eq!(server.engine.pool.status().await.unwrap().reserved, Msats::ZERO);
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_takes_longer_than_a_payment_is_held_is_given_back() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = create_held(&server, "hello").await;
    scene.pay_evaluation(id).await;
    scene.backend.say_to_work(Answer::of(&["so"], Ends::Never));
    let began = scene.clock.now();
    let hash = pay_work_held(&scene, id).await;
    assert_given_back(&scene, id, hash).await;
    let held = scene.clock.now().since(began);
    assert!(held < Duration::from_mins(12), "it was held for {held:?}");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_payment_that_comes_after_the_offer_has_ended_is_given_back() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = create_held(&server, "hello").await;
    scene.pay_evaluation(id).await;
    let job = scene.until_state(id, StateName::AwaitingWorkPayment).await;
    let invoice = scene.invoice(job.state.work_invoice().unwrap()).await;
    scene.clock.advance(invoice.expires_at.since(scene.clock.now()) + Duration::from_secs(1));
    // The wallet takes payments for longer.
    let hash = pay_work_held(&scene, id).await;
    let message = assert_given_back(&scene, id, hash).await;
    assert!(message.contains("too late"), "{message}");
    assert_eq!(scene.backend.works(), 0);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_unpaid_hold_invoice_expires_as_others_do() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = create_held(&server, "hello").await;
    scene.pay_evaluation(id).await;
    scene.until_state(id, StateName::AwaitingWorkPayment).await;
    scene.clock.advance(scene.settings.invoice_expiry + Duration::from_secs(1));
    let began = scene.clock.now();
    scene.until_state(id, StateName::Expired).await;
    let waited = scene.clock.now().since(began);
    assert!(waited < Duration::from_mins(1), "the wallet takes payments for longer: {waited:?}");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_settlement_is_tried_until_the_wallets_record_says_that_it_is_done() {
    let faults = [
        CallFault::Away,
        CallFault::Lost { happens: true },
        CallFault::Lost { happens: false },
        CallFault::Silent { happens: true },
        CallFault::Silent { happens: false },
        CallFault::Refused,
    ];
    for fault in faults {
        let scene = Scene::open().await;
        let server = scene.started();
        server.power.calls.plan(SETTLE, 1, fault, scene.store_faults.clone());
        let id = create_held(&server, "hello").await;
        scene.pay_evaluation(id).await;
        let hash = pay_work_held(&scene, id).await;
        scene.until_state(id, StateName::Complete).await;
        assert!(server.power.calls.has_struck(), "{fault:?}");
        assert_eq!(payment(&scene, hash).await.unwrap().payment_hash(), hash, "{fault:?}");
        assert_eq!((scene.backend.works(), uncollected(&scene, id).await), (1, 0), "{fault:?}");
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_is_tried_until_nothing_is_held() {
    let faults = [
        CallFault::Away,
        CallFault::Lost { happens: true },
        CallFault::Lost { happens: false },
        CallFault::Silent { happens: false },
        CallFault::Refused,
    ];
    for fault in faults {
        let scene = Scene::open().await;
        let server = scene.started();
        server.power.calls.plan(CANCEL, 1, fault, scene.store_faults.clone());
        let id = create_held(&server, "hello").await;
        scene.pay_evaluation(id).await;
        scene.backend.say_to_work(Answer::of(&[], Ends::Refused));
        let hash = pay_work_held(&scene, id).await;
        assert_given_back(&scene, id, hash).await;
        assert!(server.power.calls.has_struck(), "{fault:?}");
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn work_whose_payment_had_gone_back_is_not_delivered_and_is_the_operators_loss() {
    let scene = Scene::open().await;
    let server = scene.started();
    server.power.calls.plan(SETTLE, 1, CallFault::Goes(When::Before), scene.store_faults.clone());
    let id = create_held(&server, "hello").await;
    scene.pay_evaluation(id).await;
    let hash = pay_work_held(&scene, id).await;
    let job = scene.until(id, |job| matches!(job.state, JobState::Settling { .. })).await;
    let JobState::Settling { answer, .. } = &job.state else { panic!("{:?}", job.state) };
    // The wallet is away until the payment has gone back by itself.
    scene.clock.advance(Duration::from_hours(3));
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(matches!(scene.job(id).await.state, JobState::Settling { .. }), "nothing is given up");
    server.power.calls.mend();
    let message = assert_given_back(&scene, id, hash).await;
    assert!(message.contains("Nothing was paid"), "{message}");
    assert_eq!(uncollected(&scene, id).await, answer.price.msats.get());
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_pool_pays_its_part_of_work_whose_payment_is_held_and_nothing_of_what_fails() {
    for fails in [false, true] {
        let mut scene = Scene::open().await;
        scene.settings.rules.free_tier.budgets.new = Sats::new(10).unwrap();
        let server = scene.started();
        server.engine.pool.open().await.unwrap();
        let new = NewJobRequest { identity: Some(somebody(1)), ..asking_held("hello") };
        let id = job_of(&server.create_with(new, None).await.unwrap());
        scene.pay_evaluation(id).await;
        if fails {
            scene.backend.say_to_work(Answer::of(&[], Ends::Refused));
        }
        let hash = pay_work_held(&scene, id).await;
        assert!(!scene.job(id).await.state.work().unwrap().reserved().is_zero());
        if fails {
            assert_given_back(&scene, id, hash).await;
        } else {
            scene.until_state(id, StateName::Complete).await;
        }
        assert_eq!(scene.moved(id).await.absorbed > 0, !fails);
        assert_eq!(server.engine.pool.status().await.unwrap().reserved, Msats::ZERO);
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn beyond_the_most_held_payments_work_gets_an_ordinary_invoice() {
    for most in [0, 1] {
        let mut scene = Scene::open().await;
        scene.settings.held_payments_max = most;
        let server = scene.started();
        for held in 0..=most {
            let id = create_held(&server, "hello").await;
            scene.pay_evaluation(id).await;
            let job = scene.until_state(id, StateName::AwaitingWorkPayment).await;
            let expected = if held < most { WorkPayment::Held } else { WorkPayment::Prepaid };
            assert_eq!(job.work_payment, expected);
            if expected == WorkPayment::Prepaid {
                assert_eq!(scene.pay_through_work(id).await.state.name(), StateName::Complete);
            }
        }
        assert_eq!(scene.store.jobs_on_hold().await.unwrap(), most);
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_did_not_choose_it_is_paid_beforehand() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("hello").await;
    assert_eq!(scene.pay_through(id).await.state.name(), StateName::Complete);
    assert_eq!(scene.job(id).await.work_payment, WorkPayment::Prepaid);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn held_payments_are_found_by_polling_too() {
    let scene = Scene::open().await;
    let mut server = scene.server();
    // Its events of held payments never come.
    for _ in 0..999 {
        server.wallet_faults().queue(Operation::PaymentsHeld, Fault::Fail);
    }
    server.start();
    let id = create_held(&server, "hello").await;
    scene.pay_evaluation(id).await;
    let hash = pay_work_held(&scene, id).await;
    scene.until_state(id, StateName::Complete).await;
    let preimage = eventually("the payer has the preimage", async || payment(&scene, hash).await.ok()).await;
    assert_eq!(preimage.payment_hash(), hash);
    scene.finish().await;
}
