//! What has lapsed is cleared away, by whoever comes first.

use crate::scene::{Scene, asking};
use std::time::Duration;
use tithe_engine::EngineError;
use tithe_jobs::{JobChange, JobRepository, StateName};
use tithe_ledger::{AccountId, HoldId, LedgerRepository};
use tithe_store_suite::command::Command;
use tithe_store_suite::scene::{fund, msats};
use tithe_wallet_sim::{Fault, Operation};
use uuid::Uuid;

/// Jobs that nobody was told of.
async fn never_invoiced(scene: &Scene, count: usize) -> Vec<tithe_jobs::JobId> {
    let server = scene.server();
    for _ in 0..count {
        server.wallet_faults().queue(Operation::InvoiceCreate, Fault::Fail);
        let refused = server.create_with(asking("hello"), None).await;
        assert!(matches!(refused, Err(EngineError::NoWallet)));
    }
    let far = tithe_clock::Clock::now(scene.clock.as_ref()) + Duration::from_secs(1);
    let jobs = scene.store.jobs_never_invoiced(far, 99).await.unwrap();
    assert_eq!(jobs.len(), count);
    jobs
}

#[tokio::test(start_paused = true)]
async fn a_job_that_never_got_an_invoice_is_given_up_in_time_and_not_before() {
    let scene = Scene::open().await;
    let jobs = never_invoiced(&scene, 3).await;
    let _server = scene.started();
    tokio::time::sleep(scene.settings.abandon_after.saturating_sub(Duration::from_secs(1))).await;
    assert_eq!(scene.state(jobs[0]).await, StateName::AwaitingEvalPayment);
    for id in jobs {
        scene.until_state(id, StateName::Expired).await;
    }
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_servers_sweep_at_once_without_errors_and_each_row_once() {
    let scene = Scene::open().await;
    let jobs = never_invoiced(&scene, 20).await;
    let servers = [scene.server(), scene.server()];
    let account = AccountId::Session(Uuid::from_u128(1));
    let commit = async |command| servers[0].engine.committer().commit(command).await.unwrap();
    commit(fund(account, msats(10_000))).await;
    for n in 0..20 {
        let (hold, lease) = (HoldId(Uuid::from_u128(n)), Duration::from_secs(30));
        commit(Command::HoldPlace { hold, account, amount: msats(100), lease }).await;
    }
    let held = async || scene.store.account(account).await.unwrap().unwrap().held();
    servers[0].engine.sweep().await.unwrap();
    assert_eq!(held().await, msats(2_000));
    scene.clock.advance(scene.settings.abandon_after + Duration::from_secs(1));
    let sweeps = servers.iter().flat_map(|server| [server.engine.sweep(), server.engine.sweep()]);
    for swept in futures_util::future::join_all(sweeps).await {
        swept.unwrap();
    }
    assert_eq!(held().await, msats(0));
    for id in jobs {
        let changes = scene.store.job_changes(id, 0).await.unwrap();
        let states: Vec<_> = changes.iter().map(|JobChange { state, .. }| *state).collect();
        assert_eq!(states, [StateName::Expired]);
    }
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_the_store_cuts_short_goes_on_the_next_time() {
    let scene = Scene::open().await;
    let jobs = never_invoiced(&scene, 3).await;
    scene.clock.advance(scene.settings.abandon_after + Duration::from_secs(1));
    let server = scene.server();
    scene.store_faults.commits_unavailable("job_abandon", 1);
    assert!(matches!(server.engine.sweep().await, Err(EngineError::Busy)));
    server.engine.sweep().await.unwrap();
    for id in jobs {
        assert_eq!(scene.state(id).await, StateName::Expired);
    }
    scene.finish().await;
}
