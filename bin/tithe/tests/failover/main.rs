//! A standby is promoted under load, and the old primary comes back: `just failover`.
//!
//! Customers buy everything that there is from two servers. The primary of their database crashes, its standby is promoted, and the
//! old primary comes back as it was, taking writes. What must hold: whatever was acknowledged is in the new primary, to the last sat,
//! as in `just chaos`; nothing is written to the old primary, not even by a server that was just started; and when the new primary is
//! away, nothing is sold. With a standby that commits do not wait for, what is lost is what it had not received, and no more.
//!
//! The databases are set up and promoted by the commands of docs/operating/install.md, and repaired by those of docs/operating/fail-over.md,
//! as they are written there.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

#[path = "../chaos/ai_client.rs"]
mod ai_client;
#[path = "../chaos/ai_session.rs"]
mod ai_session;
#[path = "../chaos/asker.rs"]
mod asker;
#[path = "../chaos/crowd.rs"]
mod crowd;
#[path = "../chaos/customer.rs"]
mod customer;
#[path = "../chaos/install.rs"]
mod install;
#[path = "../chaos/one_request.rs"]
mod one_request;
#[path = "../process/operating.rs"]
mod operating;
mod pair;
#[path = "../chaos/payment_session.rs"]
mod payment_session;
#[path = "../server/mod.rs"]
mod server;
#[path = "../chaos/session.rs"]
mod session;
#[path = "../chaos/store.rs"]
#[expect(dead_code, reason = "chaos has other databases")]
mod store;
#[path = "../chaos/tally.rs"]
mod tally;

use asker::Asker;
use crowd::{Crowd, any_of, random, read};
use operating::{procedure, shell};
use pair::{Pair, client, written};
use reqwest::StatusCode;
use serde_json::{Value, json};
use server::{Server, tithe};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use store::Store;
use tally::Tally;
use tithe_clock::{SeededEntropy, SystemEntropy};
use tithe_test_postgres::Cluster;
use tokio::runtime::Runtime;

/// A run that takes longer hangs.
const LONGEST: Duration = Duration::from_mins(10);

const CUSTOMERS: u64 = 10;
const JOBS_EACH: u64 = 3;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
#[ignore = "takes a minute: just failover"]
fn nothing_that_was_acknowledged_is_lost_when_a_standby_is_promoted() {
    let runs = std::env::var("TITHE_TEST_FAILOVER_RUNS").map_or(1, |runs| runs.parse().unwrap());
    let mut pauses = Vec::new();
    for run in 1..=runs {
        let Figures { pause, answers, seed } = drill();
        println!(
            "run {run} of {runs}: {answers} answers, {:.1} s without one (seed {seed})",
            pause.as_secs_f64()
        );
        pauses.push(pause);
    }
    pauses.sort();
    let [least, median, most] = [0, pauses.len() / 2, pauses.len() - 1].map(|n| pauses[n].as_secs_f64());
    println!("{runs} failovers; seconds without a write: min {least:.1}, median {median:.1}, max {most:.1}");
}

struct Figures {
    pause: Duration,
    answers: usize,
    seed: u64,
}

fn drill() -> Figures {
    let seed = random(&SystemEntropy, 0, u64::MAX);
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let pair = Pair::start(true);
    let store = Store::Pair(pair.url());
    let servers = store.start_servers(folder.path());
    let tally = Arc::new(Tally::default());
    let addresses = servers.iter().map(|server| server.url("")).collect();
    let crowd = Crowd { store: &store, folder: folder.path(), addresses, tally: tally.clone(), seed };
    let mut buyers = runtime.block_on(crowd.buy(CUSTOMERS, JOBS_EACH, CUSTOMERS / 3, CUSTOMERS / 5));
    let over = AtomicBool::new(false);
    let (mut servers, before, promoted) = std::thread::scope(|threads| {
        let trouble = threads.spawn(|| fail_over(&pair, servers, folder.path(), &tally, &over, seed));
        let buying = runtime.block_on(async {
            let all = async {
                while let Some(customer) = buyers.join_next().await {
                    customer.unwrap();
                }
            };
            tokio::time::timeout(LONGEST, all).await
        });
        over.store(true, Ordering::SeqCst);
        buying.unwrap_or_else(|_| panic!("seed {seed}: the customers still wait"));
        trouble.join().unwrap()
    });
    check_that_the_old_one_is_no_substitute(&runtime, &pair, &servers[1]);
    assert_eq!(runtime.block_on(written(&pair.one)), before, "seed {seed}: the old primary was written to");
    check_log(folder.path());
    let pool = runtime.block_on(read(&servers[0], "/api/pool"));
    assert_eq!(pool["reservedMsats"], 0, "seed {seed}: {pool}");
    for server in &mut servers {
        assert!(server.stop());
    }
    let new = Store::Pair(Pair::url_of(&pair.two));
    runtime.block_on(Crowd { store: &new, ..crowd }.check_books(&servers[0], CUSTOMERS * JOBS_EACH));
    bring_back(&pair, "rewind");
    println!("customers tried again: {:?}", tally.retries.all());
    Figures { pause: tally.pause(Some(promoted)), answers: tally.answers().len(), seed }
}

/// Crashes the primary, promotes the standby, and starts the old primary and some servers; returns the servers, what was written to
/// the old primary, and when the standby was promoted.
fn fail_over(
    pair: &Pair,
    mut servers: Vec<Server>,
    folder: &Path,
    tally: &Tally,
    over: &AtomicBool,
    seed: u64,
) -> (Vec<Server>, String, Instant) {
    let (runtime, entropy) = (runtime(), SeededEntropy::new(!seed));
    let wait_for = |more: u64| {
        let enough = tally.answers().len() + usize::try_from(more).unwrap();
        let deadline = Instant::now() + Duration::from_mins(2);
        while tally.answers().len() < enough && !over.load(Ordering::SeqCst) {
            assert!(Instant::now() < deadline, "seed {seed}: no answers any more");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    };
    wait_for(random(&entropy, 10, 50));
    assert!(!over.load(Ordering::SeqCst), "seed {seed}: nobody buys any more");
    pair.one.stop_immediate().unwrap();
    // Somebody has to notice.
    std::thread::park_timeout(Duration::from_millis(random(&entropy, 0, 1_000)));
    let promoted = Instant::now();
    pair.run(&pair.two, "install-standby-promote");
    wait_for(10);
    // Nobody has told the old primary.
    pair.one.start_again().unwrap();
    let before = runtime.block_on(async {
        let old = client(&pair.one).await;
        // It waits for no standby, so that it would sell.
        old.batch_execute("ALTER SYSTEM RESET synchronous_standby_names").await.unwrap();
        old.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        old.batch_execute("CREATE TABLE it_takes_writes ()").await.unwrap();
        written(&pair.one).await
    });
    let victim = any_of(&servers, &entropy);
    servers[victim].kill();
    servers[victim].restart().unwrap_or_else(|told| panic!("seed {seed}: {told}"));
    // A server of another machine, which knows nothing.
    let fresh = tempfile::tempdir().unwrap();
    std::fs::create_dir(fresh.path().join("tithe-data")).unwrap();
    // It may take over work, and has the same wallet and secret.
    for shared in ["wallet-sim", "token.secret"] {
        let shared = Path::new("tithe-data").join(shared);
        std::os::unix::fs::symlink(folder.join(&shared), fresh.path().join(&shared)).unwrap();
    }
    let mut stranger = Server::start(fresh.path(), &[("TITHE_DEV", "1"), ("DATABASE_URL", &pair.url())]);
    let ready = runtime.block_on(read(&stranger, "/readyz"));
    assert_eq!(ready["status"], "ready", "{ready}");
    assert!(stranger.stop());
    let alone = Pair::url_of(&pair.one);
    let settings = [("TITHE_DEV", "1"), ("TITHE_LISTEN", "127.0.0.1:0"), ("DATABASE_URL", alone.as_str())];
    let refused = tithe(folder).arg("serve").envs(settings).output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains(": old primary at "), "{told}");
    (servers, before, promoted)
}

/// While the new primary is away, nothing is sold, though the old one would take it.
fn check_that_the_old_one_is_no_substitute(runtime: &Runtime, pair: &Pair, server: &Server) {
    pair.two.stop_immediate().unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let (status, problem, ready) = runtime.block_on(async {
        let body = json!({ "request": "Why is the sky blue?" });
        let asked = http
            .post(server.url("/api/jobs"))
            .header("Idempotency-Key", "the old primary is no substitute")
            .json(&body);
        let refused = asked.send().await.unwrap();
        let (status, problem) = (refused.status(), refused.json::<Value>().await.unwrap());
        (status, problem, http.get(server.url("/readyz")).send().await.unwrap().status())
    });
    assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("busy")), "{problem}");
    assert_eq!(ready, StatusCode::SERVICE_UNAVAILABLE);
    pair.two.start_again().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while runtime.block_on(http.get(server.url("/readyz")).send()).unwrap().status() != StatusCode::OK {
        assert!(Instant::now() < deadline, "it is not ready again");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// The refusal is logged by each server that sees it, once.
fn check_log(folder: &Path) {
    let log = std::fs::read_to_string(folder.join("server.log")).unwrap();
    let refusals =
        log.lines().filter(|line| line.contains("ERROR") && line.contains("old primary at")).count();
    assert!((1..=6).contains(&refusals), "{refusals} refusals in {log}");
}

/// Makes the old primary a standby of the new one.
fn bring_back(pair: &Pair, procedure: &str) {
    pair.one.stop_immediate().unwrap();
    pair.run(&pair.one, procedure);
    pair.wait_for_the_old_primary();
    let tables = "SELECT (SELECT count(*) FROM jobs) || ' ' || (to_regclass('it_takes_writes') IS NULL)";
    let look = |cluster: &Cluster| {
        runtime().block_on(async {
            client(cluster).await.query_one(tables, &[]).await.unwrap().get::<_, String>(0)
        })
    };
    let (new, deadline) = (look(&pair.two), Instant::now() + Duration::from_secs(30));
    while look(&pair.one) != new {
        assert!(
            Instant::now() < deadline,
            "the old primary is no copy of the new one: {} {new}",
            look(&pair.one)
        );
    }
}

#[test]
#[ignore = "takes half a minute: just failover"]
fn an_asynchronous_standby_loses_what_it_had_not_received_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let pair = Pair::start(false);
    let mut server = Server::start(folder.path(), &[("TITHE_DEV", "1"), ("DATABASE_URL", &pair.url())]);
    let tally = Arc::new(Tally::default());
    let entropy = SeededEntropy::new(random(&SystemEntropy, 0, u64::MAX));
    let asker = Asker::new(vec![server.url("")], tally, entropy, None);
    let mut sold = 0..;
    let mut sell = || {
        runtime.block_on(async {
            let mut jobs = Vec::new();
            for n in sold.by_ref().take(10) {
                let body = json!({ "request": "Why is the sky blue?" });
                let (status, job) =
                    asker.ask("POST", "/api/jobs", Some((&body, &format!("the job with number {n}")))).await;
                assert_eq!(status, StatusCode::CREATED, "{job}");
                jobs.push(job["jobId"].as_str().unwrap().to_owned());
            }
            jobs
        })
    };
    let replicated = sell();
    let received = "lsn=$(psql -Atc 'SELECT pg_current_wal_flush_lsn()')
        until [ \"$(psql -Atc \"SELECT flush_lsn >= '$lsn' FROM pg_stat_replication\")\" = t ]; do :; done";
    pair.one.shell(received, &[]).unwrap();
    pair.two
        .shell(
            "psql -qc \"ALTER SYSTEM SET primary_conninfo = ''\" -c 'SELECT pg_reload_conf()'
            until [ -z \"$(psql -Atc 'SELECT pid FROM pg_stat_wal_receiver')\" ]; do :; done",
            &[],
        )
        .unwrap();
    let lost = sell();
    pair.one.stop_immediate().unwrap();
    pair.run(&pair.two, "install-standby-promote");
    let after = sell();
    pair.one.start_again().unwrap();
    let before = runtime.block_on(written(&pair.one));
    server.kill();
    server.restart().unwrap();
    let after_its_return = sell();
    let kept = |cluster: &Cluster| -> Vec<String> {
        runtime.block_on(async {
            let rows = client(cluster).await.query("SELECT id::text FROM jobs", &[]).await.unwrap();
            rows.iter().map(|row| row.get(0)).collect()
        })
    };
    let (old, new) = (kept(&pair.one), kept(&pair.two));
    let all_in = |jobs: &[String], kept: &[String]| jobs.iter().all(|job| kept.contains(job));
    assert_eq!(new.len(), 30);
    assert!(all_in(&replicated, &new) && all_in(&after, &new) && all_in(&after_its_return, &new));
    assert_eq!(old.len(), 20);
    assert!(all_in(&replicated, &old) && all_in(&lost, &old));
    assert_eq!(runtime.block_on(written(&pair.one)), before, "the old primary was written to");
    assert!(server.stop());
    check_log(folder.path());
    // An operator may go back all the same.
    let accepted = run_on_server(folder.path(), &Pair::url_of(&pair.one), "database-accept");
    assert!(accepted.starts_with("accepted: timeline 1 of system "), "{accepted}");
    let accepted = run_on_server(folder.path(), &Pair::url_of(&pair.two), "database-accept");
    assert!(accepted.starts_with("accepted: timeline 2 of system "), "{accepted}");
    bring_back(&pair, "copy-again");
}

/// Runs a procedure on the machine of a server; returns what it prints.
fn run_on_server(folder: &Path, url: &str, name: &str) -> String {
    let output = shell(folder, &procedure(name)).env("DATABASE_URL", url).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
