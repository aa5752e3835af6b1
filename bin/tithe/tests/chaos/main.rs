//! Customers buy while servers are killed at random moments, and the database crashes under them.
//!
//! `just chaos` kills one server on SQLite; `just chaos postgres` kills three servers on one PostgreSQL database, and also
//! restarts that; `… short` is what CI runs. Some customers are anonymous, the others of every tier; some of these log in, and
//! some sign each request; and the pool pays for what it can. What must hold: every job that was paid ends, complete or failed
//! with its refund due; nobody is charged twice; what the pool pays is in its books, to the last job, and nothing stays
//! reserved; every request of a session is charged once, and what the session has left is due; every answer of the AI API
//! is charged once, as it says, also to clients that leave and come back, and to SDKs that try again without a key; what nobody has
//! seen whole is charged no more than it was delivered; every payment for one request buys its answer once, however often its proof is sent,
//! or is due again; one that is held is taken for an answer that was given before, or comes back; what is paid into a session of the
//! scheme `Payment` is charged once for each challenge that was used, and the rest goes to its return invoice, at most once; every
//! install is served exactly what its plan includes; every retry finds its answer; a customer sees nothing worse than "try again"; `tithe audit` finds nothing; and no
//! server ends but by the killer's hand.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod ai_client;
mod ai_session;
mod asker;
mod crowd;
mod customer;
mod install;
mod one_request;
mod payment_session;
#[path = "../server/mod.rs"]
mod server;
mod session;
#[expect(dead_code, reason = "the failover drill has a primary and a standby")]
mod store;
mod tally;
mod trouble;

use crowd::{Crowd, any_of, random, read};
use server::Server;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use tally::Tally;
use tithe_clock::SystemEntropy;
use trouble::Trouble;

/// A run that takes longer hangs.
const LONGEST: Duration = Duration::from_mins(15);

struct Plan {
    customers: u64,
    jobs_each: u64,
    sessions: u64,
    installs: u64,
    kill_every_ms: (u64, u64),
    restart_every_ms: (u64, u64),
}

impl Plan {
    const fn of(store: &Store, long: bool) -> Self {
        let (customers, jobs_each) = match (store, long) {
            (_, false) => (10, 3),
            (Store::Sqlite, true) => (20, 10),
            (Store::Postgres(_) | Store::Pair(_), true) => (30, 10),
        };
        let (kill_every_ms, restart_every_ms) =
            if long { ((300, 2_000), (1_000, 4_000)) } else { ((300, 1_500), (500, 2_000)) };
        let (sessions, installs) = (customers / 3, customers / 5);
        Self { customers, jobs_each, sessions, installs, kill_every_ms, restart_every_ms }
    }
}

/// Waits until nothing is reserved in the pool: what a killed server has reserved comes back when its lease is over.
async fn nothing_is_reserved(server: &Server, seed: u64) {
    let began = Instant::now();
    loop {
        let pool = read(server, "/api/pool").await;
        if pool["reservedMsats"] == 0 {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "seed {seed}: {pool}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
#[ignore = "takes a minute: just chaos"]
fn no_sat_is_lost_or_invented_while_servers_are_killed_and_the_database_crashes() {
    let store = Store::chosen();
    let long = std::env::var("TITHE_TEST_CHAOS").is_ok_and(|length| length == "long");
    let plan = Plan::of(&store, long);
    let seed = random(&SystemEntropy, 0, u64::MAX);
    println!("seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    let servers = store.start_servers(folder.path());
    let tally = Arc::new(Tally::default());
    let addresses = servers.iter().map(|server| server.url("")).collect();
    let crowd = Crowd { store: &store, folder: folder.path(), addresses, tally: tally.clone(), seed };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

    // Who they are is written down before there is trouble.
    let mut buyers =
        runtime.block_on(crowd.buy(plan.customers, plan.jobs_each, plan.sessions, plan.installs));

    let began = Instant::now();
    let trouble = Trouble::begin(&store, servers, &plan, seed);
    let buying = runtime.block_on(async {
        let buying = async {
            while let Some(customer) = buyers.join_next().await {
                customer.unwrap();
            }
        };
        tokio::select! {
            bought = tokio::time::timeout(LONGEST, buying) => bought.map_err(|_| "the customers still wait"),
            () = trouble.ended_early() => Err("there is no trouble any more"),
        }
    });
    let troubles = trouble.end();
    assert_eq!(buying, Ok(()), "seed {seed}");

    let mut servers = troubles.servers;
    runtime.block_on(nothing_is_reserved(&servers[0], seed));
    for server in &mut servers {
        assert!(server.stop());
    }
    let jobs = plan.customers * plan.jobs_each;
    let report = runtime.block_on(crowd.check_books(&servers[0], jobs));
    println!("{} jobs in {:.1?}: {:?}", report["jobs"], began.elapsed(), tally.ends.all());
    println!(
        "{} kills, {} restarts of the database, {} starts of a server while it was away",
        troubles.kills, troubles.restarts, troubles.starts_refused
    );
    println!(
        "customers tried again: {:?}; the longest time without an answer: {:.1?}",
        tally.retries.all(),
        tally.pause(None)
    );
    println!("seen in tiers: {:?}", tally.tiers.all());
    println!("the pool served: {:?}", tally.served.all());
    let (tiers, served, ends) = (tally.tiers.all(), tally.served.all(), tally.ends.all());
    for end in ["held request complete", "held request given back", "paid request complete"] {
        assert!(ends.contains_key(end), "seed {seed}: no {end}: {ends:?}");
    }
    assert!(tiers.len() >= 3, "seed {seed}: {tiers:?}");
    assert!(!long || ["free", "partial", "gate"].iter().all(|how| served.contains_key(*how)), "{served:?}");
    assert!(troubles.kills > 0, "nothing was killed");
    assert!(matches!(store, Store::Sqlite) || troubles.restarts > 0, "the database was not restarted");
}
