//! The life of a job, by the real background tasks.

use crate::scene::{Moved, Scene};
use std::time::Duration;
use tithe_jobs::{JobState, StateName};

/// What `sim-large` costs at 100 000 dollars with 40 % on top, worked out by hand: micro-dollars per million tokens times
/// tokens are pico-dollars, and 1 dollar is 1 000 000 msats.
fn large_msats(input: u64, output: u64) -> u64 {
    ((input * 2_500_000 + output * 20_000_000) * 14).div_ceil(10_000_000)
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_paid_for_twice_completes_and_every_msat_is_accounted_for() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("Why is the sky blue?").await;
    let fee = scene.job(id).await.evaluation_fee().to_msats().get();
    let job = scene.pay_through(id).await;
    let JobState::Complete { work, completion, .. } = &job.state else { panic!("{:?}", job.state) };
    assert!(completion.text.starts_with("You asked: Why is the sky blue?"));
    let charged = large_msats(completion.usage.input_tokens, completion.usage.output_tokens);
    assert_eq!(completion.settlement.charged.get(), charged);
    let paid = work.amount.to_msats().get();
    let tokens = work.quote.tokens;
    assert_eq!(paid, large_msats(tokens.max_input, tokens.max_output).div_ceil(1_000) * 1_000);
    let (owed, rounding) = ((paid - charged) / 1_000 * 1_000, (paid - charged) % 1_000);
    let moved = Moved { paid: fee + paid, charged: fee + charged, absorbed: 0, owed, rounding };
    assert_eq!(scene.moved(id).await, moved);
    assert_eq!(job.refund.amount().to_msats().get(), owed);
    assert_eq!((scene.backend.evaluations(), scene.backend.works()), (1, 1));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_rejected_job_costs_the_evaluation_fee_and_nothing_else() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("[sim:reject]").await;
    let job = scene.pay_through(id).await;
    let JobState::Rejected { reason } = &job.state else { panic!("{:?}", job.state) };
    assert_eq!(reason, "The simulated evaluator was told to reject this.");
    let fee = job.evaluation_fee().to_msats().get();
    assert_eq!(scene.moved(id).await, Moved { paid: fee, charged: fee, ..Moved::default() });
    assert_eq!(scene.backend.works(), 0);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_work_fails_costs_the_evaluation_fee_and_the_work_is_owed_back() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("[sim:refuse]").await;
    let job = scene.pay_through(id).await;
    let JobState::Failed { work: Some(work), .. } = &job.state else { panic!("{:?}", job.state) };
    let (fee, owed) = (job.evaluation_fee().to_msats().get(), work.amount.to_msats().get());
    assert_eq!(scene.moved(id).await, Moved { paid: fee + owed, charged: fee, owed, ..Moved::default() });
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_pays_expires_at_either_invoice() {
    let scene = Scene::open().await;
    let server = scene.started();
    let (unpaid, half_paid) = (server.create("one").await, server.create("two").await);
    scene.pay_evaluation(half_paid).await;
    scene.until_state(half_paid, StateName::AwaitingWorkPayment).await;
    assert_eq!(scene.state(unpaid).await, StateName::AwaitingEvalPayment);
    scene.clock.advance(scene.settings.invoice_expiry + Duration::from_secs(1));
    scene.until_state(unpaid, StateName::Expired).await;
    let job = scene.until_state(half_paid, StateName::Expired).await;
    assert_eq!(scene.moved(unpaid).await, Moved::default());
    let fee = job.evaluation_fee().to_msats().get();
    assert_eq!(scene.moved(half_paid).await, Moved { paid: fee, charged: fee, ..Moved::default() });
    assert_eq!(scene.backend.works(), 0);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn many_jobs_on_few_workers_and_two_servers_are_each_done_once() {
    let mut scene = Scene::open().await;
    scene.settings.workers = 2;
    let first = scene.started();
    let _second = scene.started();
    let mut jobs = Vec::new();
    for n in 0..24 {
        jobs.push(first.create(&format!("question {n}")).await);
    }
    for job in &jobs {
        scene.pay_evaluation(*job).await;
    }
    for job in &jobs {
        scene.pay_work(*job).await;
    }
    for job in &jobs {
        scene.until_state(*job, StateName::Complete).await;
    }
    assert_eq!((scene.backend.evaluations(), scene.backend.works()), (24, 24));
    scene.finish().await;
}
