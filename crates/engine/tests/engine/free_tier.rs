//! Jobs that the pool pays for, by the real background tasks.

use crate::scene::{Scene, Server, poll_all, somebody};
use std::time::Duration;
use tithe_engine::pool::PoolStatus;
use tithe_free_tier::{FreeTierRepository, GrantLease, Identity, ReservationId, ReservationState};
use tithe_jobs::{Job, JobId, JobState, StateName};
use tithe_lightning::TestPayer;
use tithe_money::Sats;
use tithe_trust::{Score, Tier};

const SEED_MSATS: u64 = 10_000_000;

/// A scene in which strangers may take so many sats a day.
async fn giving(budget: u64) -> (Scene, Server) {
    let mut scene = Scene::open().await;
    scene.settings.rules.free_tier.budgets.new = Sats::new(budget).unwrap();
    let server = scene.started();
    server.engine.pool.open().await.unwrap();
    (scene, server)
}

async fn pool(server: &Server) -> PoolStatus {
    server.engine.pool.status().await.unwrap()
}

async fn standing(scene: &Scene, n: u8) -> Identity {
    scene.store.identity(somebody(n)).await.unwrap().unwrap()
}

async fn reservation(scene: &Scene, id: JobId) -> Option<ReservationState> {
    scene.store.reservation(ReservationId(id.0)).await.unwrap().map(|reservation| reservation.state)
}

fn absorbed(job: &Job) -> u64 {
    let JobState::Complete { completion, .. } = &job.state else { panic!("{:?}", job.state) };
    completion.settlement.absorbed.get()
}

#[tokio::test(start_paused = true)]
async fn the_pool_is_opened_once_by_however_many_servers() {
    let (scene, server) = giving(0).await;
    let other = scene.server();
    other.engine.pool.open().await.unwrap();
    server.engine.pool.open().await.unwrap();
    assert_eq!(pool(&server).await.balance.get(), SEED_MSATS);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn work_within_the_day_is_free_and_starts_at_once_without_an_invoice() {
    let (scene, server) = giving(1_000).await;
    let id = server.create_as(somebody(1), "Why is the sky blue?").await;
    scene.pay_evaluation(id).await;
    // Nobody pays anything more.
    let job = scene.until_state(id, StateName::Complete).await;
    assert_eq!(job.state.work_invoice(), None);
    let (price, moved) = (absorbed(&job), scene.moved(id).await);
    let fee = job.evaluation_fee().to_msats().get();
    assert_eq!((moved.paid, moved.charged, moved.absorbed, moved.owed), (fee, fee, price, 0));
    assert!(price > 0);
    let pool = pool(&server).await;
    assert_eq!((pool.balance.get(), pool.reserved.get()), (SEED_MSATS - price, 0));
    assert_eq!(pool.granted_today.get(), price);
    let standing = standing(&scene, 1).await;
    assert_eq!((standing.window.absorbed.get(), standing.window.reserved.get()), (price, 0));
    assert_eq!((standing.trust.score, standing.trust.interactions), (Score::ZERO, 1));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_partial_offer_discounts_the_invoice_and_the_pool_pays_first() {
    let (scene, server) = giving(10).await;
    let id = server.create_as(somebody(1), "Why is the sky blue?").await;
    scene.pay_evaluation(id).await;
    let job = scene.until_state(id, StateName::AwaitingWorkPayment).await;
    let work = job.state.work().unwrap().clone();
    assert_eq!(work.full_amount.get() - work.amount.get(), 10);
    assert_eq!(reservation(&scene, id).await, Some(ReservationState::Held { lease: GrantLease::Offer }));
    assert_eq!(standing(&scene, 1).await.window.offer, Some(ReservationId(id.0)));
    assert_eq!(pool(&server).await.reserved.get(), 10_000);
    let asked = scene.invoice(job.state.work_invoice().unwrap()).await.amount;
    assert_eq!(asked, work.amount.to_msats());
    let job = scene.pay_through_work(id).await;
    let JobState::Complete { completion, .. } = &job.state else { panic!("{:?}", job.state) };
    let price = completion.settlement.price.msats.get();
    assert_eq!(absorbed(&job), price.min(10_000));
    let charged = price - absorbed(&job);
    let tithe = charged / 10;
    assert_eq!(pool(&server).await.balance.get(), SEED_MSATS - absorbed(&job) + tithe);
    assert_eq!(standing(&scene, 1).await.window.offer, None);
    // What they have paid themselves earns trust, in proportion.
    assert_eq!(standing(&scene, 1).await.trust.score.millis(), charged * 2_000 / 50_000);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_offer_that_nobody_pays_lapses_with_its_invoice() {
    let (scene, server) = giving(10).await;
    let id = server.create_as(somebody(1), "hello").await;
    scene.pay_evaluation(id).await;
    scene.until_state(id, StateName::AwaitingWorkPayment).await;
    // The second offer has to wait for the first: this one is for the full price.
    let second = server.create_as(somebody(1), "hello again").await;
    scene.pay_evaluation(second).await;
    let gated = scene.until_state(second, StateName::AwaitingWorkPayment).await;
    let work = gated.state.work().unwrap();
    assert_eq!(work.amount, work.full_amount);
    scene.clock.advance(scene.settings.invoice_expiry + Duration::from_secs(1));
    scene.until_state(id, StateName::Expired).await;
    scene.until_state(second, StateName::Expired).await;
    assert_eq!(reservation(&scene, id).await, Some(ReservationState::Released));
    let standing = standing(&scene, 1).await;
    assert_eq!((standing.window.reserved.get(), standing.window.offer), (0, None));
    let pool = pool(&server).await;
    assert_eq!((pool.balance.get(), pool.reserved.get()), (SEED_MSATS, 0));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_late_payment_of_a_lapsed_offer_is_owed_back_and_takes_nothing_of_the_pool() {
    let (scene, server) = giving(10).await;
    let id = server.create_as(somebody(1), "hello").await;
    scene.pay_evaluation(id).await;
    let job = scene.until_state(id, StateName::AwaitingWorkPayment).await;
    let invoice = scene.invoice(job.state.work_invoice().unwrap()).await;
    let slow = scene.wallet_whose_clock_stands().await;
    scene.clock.advance(scene.settings.invoice_expiry + Duration::from_secs(1));
    scene.until_state(id, StateName::Expired).await;
    slow.pay(&invoice.payment_request.parse().unwrap()).await.unwrap();
    // The first look for late payments.
    scene.clock.advance(Duration::from_mins(1));
    poll_all(&server.engine).await;
    let moved = scene.moved(id).await;
    assert_eq!((moved.owed, moved.absorbed), (invoice.amount.get(), 0));
    assert_eq!(pool(&server).await.balance.get(), SEED_MSATS);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn work_that_fails_gives_everything_back_and_only_the_requests_fault_costs_trust() {
    for (request, points) in [("[sim:refuse]", 4), ("[sim:fail]", 9)] {
        let mut scene = Scene::open().await;
        scene.settings.rules.free_tier.budgets.new = Sats::new(1_000).unwrap();
        // Nine points, earned elsewhere: one full payment gives them.
        scene.settings.rules.trust.success = Score::points(9);
        scene.settings.rules.trust.day_gain_max = Score::points(9);
        scene.settings.rules.trust.full_payment = tithe_money::Msats::new(1).unwrap();
        scene.settings.rules.free_tier.pool_initial = Sats::ZERO;
        let server = scene.started();
        server.engine.pool.open().await.unwrap();
        let paid = server.create_as(somebody(1), "hello").await;
        scene.pay_through(paid).await;
        assert_eq!(standing(&scene, 1).await.trust.score, Score::points(9));
        let before = pool(&server).await.balance;
        let id = server.create_as(somebody(1), request).await;
        let job = scene.pay_through(id).await;
        assert_eq!(job.state.name(), StateName::Failed, "{request}");
        assert_eq!(standing(&scene, 1).await.trust.score, Score::points(points), "{request}");
        assert_eq!(standing(&scene, 1).await.window.reserved.get(), 0);
        let pool = pool(&server).await;
        assert_eq!((pool.balance, pool.reserved.get()), (before, 0));
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_request_costs_trust_and_nothing_was_reserved() {
    let (scene, server) = giving(1_000).await;
    let id = server.create_as(somebody(1), "[sim:reject]").await;
    let job = scene.pay_through(id).await;
    assert_eq!(job.state.name(), StateName::Rejected);
    let standing = standing(&scene, 1).await;
    assert_eq!((standing.trust.score, standing.trust.interactions), (Score::ZERO, 1));
    assert_eq!(reservation(&scene, id).await, None);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_paid_job_feeds_the_pool_whoever_pays() {
    let (scene, server) = giving(0).await;
    let mut tithes = 0;
    for id in [server.create("hello").await, server.create_as(somebody(1), "hello").await] {
        let job = scene.pay_through(id).await;
        let JobState::Complete { completion, .. } = &job.state else { panic!("{:?}", job.state) };
        tithes += completion.settlement.charged.get() / 10;
    }
    assert!(tithes > 0);
    assert_eq!(pool(&server).await.balance.get(), SEED_MSATS + tithes);
    let view = server.engine.identities.view(somebody(1)).await.unwrap();
    assert_eq!((view.tier, view.interactions), (Tier::New, 1));
    assert!(view.score > Score::ZERO);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn jobs_that_run_at_once_never_share_the_same_sat_of_the_pool() {
    let mut scene = Scene::open().await;
    scene.settings.rules.free_tier.budgets.new = Sats::new(1_000).unwrap();
    scene.settings.rules.free_tier.pool_initial = Sats::new(100).unwrap();
    let server = scene.started();
    server.engine.pool.open().await.unwrap();
    let mut jobs = Vec::new();
    for n in 1..=12 {
        // Slow work holds what is reserved for it while the others ask.
        jobs.push(server.create_as(somebody(n), "hello [sim:slow=500]").await);
    }
    for id in &jobs {
        scene.pay_evaluation(*id).await;
    }
    let (mut free, mut paid) = (0, 0);
    for id in jobs {
        let job = scene.pay_through_work(id).await;
        assert_eq!(job.state.name(), StateName::Complete);
        match job.state.work_invoice() {
            None => free += 1,
            Some(_) => paid += 1,
        }
    }
    assert_eq!((free, paid), (3, 9), "100 sats hold three jobs of at most 29");
    assert_eq!(pool(&server).await.reserved.get(), 0);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_estimate_says_what_a_job_then_gets() {
    for (budget, partial) in [(1_000, false), (10, true)] {
        let (scene, server) = giving(budget).await;
        let who = Some(somebody(1));
        let estimate = server.engine.quotes.estimate("hello", None, None, who).await.unwrap();
        let preview = estimate.free_tier.unwrap();
        assert_eq!(preview.expected_absorb.checked_add(preview.expected_charge).unwrap(), estimate.expected);
        assert_eq!(scene.store.identity(somebody(1)).await.unwrap(), None, "asking made no row");
        let id = server.create_as(somebody(1), "hello").await;
        scene.pay_evaluation(id).await;
        let job = scene.until(id, |job| job.state.work().is_some()).await;
        let work = job.state.work().unwrap();
        assert_eq!(work.amount.to_msats(), preview.decision.charge);
        assert_eq!(work.reserved(), preview.decision.absorb);
        assert_eq!(partial, !work.is_free());
        scene.pay_through_work(id).await;
        scene.finish().await;
    }
}
