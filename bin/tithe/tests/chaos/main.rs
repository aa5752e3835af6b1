//! Customers buy while servers are killed at random moments, and the database crashes under them.
//!
//! `just chaos` kills one server on SQLite; `just chaos postgres` kills three servers on one PostgreSQL database, and also
//! restarts that; `… short` is what CI runs. What must hold: every job that was paid ends, complete or failed with its refund
//! due; nobody is charged twice; every retry finds its answer; a customer sees nothing worse than "try again"; `tithe audit`
//! finds nothing; and no server ends but by the killer's hand.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod customer;
#[path = "../server/mod.rs"]
mod server;
mod store;
mod trouble;

use customer::{Customer, Tally};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use store::Store;
use tithe_clock::{Entropy, SeededEntropy, SystemEntropy};
use trouble::Trouble;

/// A run that takes longer hangs.
const LONGEST: Duration = Duration::from_mins(15);

struct Plan {
    customers: u64,
    jobs_each: u64,
    kill_every_ms: (u64, u64),
    restart_every_ms: (u64, u64),
}

impl Plan {
    const fn of(store: &Store, long: bool) -> Self {
        let (customers, jobs_each) = match (store, long) {
            (_, false) => (10, 3),
            (Store::Sqlite, true) => (20, 10),
            (Store::Postgres(_), true) => (30, 10),
        };
        let (kill_every_ms, restart_every_ms) =
            if long { ((300, 2_000), (1_000, 4_000)) } else { ((300, 1_500), (500, 2_000)) };
        Self { customers, jobs_each, kill_every_ms, restart_every_ms }
    }
}

/// A number from `from` up to `to`.
fn random(entropy: &dyn Entropy, from: u64, to: u64) -> u64 {
    from + u64::from_le_bytes(entropy.bytes()) % (to - from)
}

/// The place of one of them.
fn any_of<T>(items: &[T], entropy: &dyn Entropy) -> usize {
    usize::try_from(random(entropy, 0, items.len().try_into().unwrap())).unwrap()
}

#[test]
#[ignore = "takes a minute: just chaos"]
fn no_sat_is_lost_or_invented_while_servers_are_killed_and_the_database_crashes() {
    let store = Store::chosen();
    let plan = Plan::of(&store, std::env::var("TITHE_TEST_CHAOS").is_ok_and(|length| length == "long"));
    let seed = random(&SystemEntropy, 0, u64::MAX);
    println!("seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    let servers = store.start_servers(folder.path());
    let addresses: Vec<String> = servers.iter().map(|server| server.url("")).collect();
    let began = Instant::now();
    let trouble = Trouble::begin(&store, servers, &plan, seed);

    let tally = Arc::new(Tally::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let buying = runtime.block_on(async {
        let mut customers = tokio::task::JoinSet::new();
        for number in 1..=plan.customers {
            let entropy = SeededEntropy::new(seed ^ number);
            let customer = Customer::new(addresses.clone(), tally.clone(), entropy);
            customers.spawn(async move {
                for _ in 0..plan.jobs_each {
                    customer.buy().await;
                }
            });
        }
        let buying = async {
            while let Some(customer) = customers.join_next().await {
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
    for server in &mut servers {
        assert!(server.stop());
    }
    let audited = servers[0].run(&["audit", "--json"]);
    let report: Value = serde_json::from_slice(&audited.stdout)
        .unwrap_or_else(|wrong| panic!("{wrong}: {}", String::from_utf8_lossy(&audited.stderr)));
    println!("{} jobs in {:.1?}: {:?}", report["jobs"], began.elapsed(), tally.ends.lock().unwrap());
    println!(
        "{} kills, {} restarts of the database, {} starts of a server while it was away",
        troubles.kills, troubles.restarts, troubles.starts_refused
    );
    println!("customers tried again: {:?}", tally.retries.lock().unwrap());
    assert_eq!(report["sound"], true, "seed {seed}: {report:#}");
    // Each key made one job, whatever was retried; what customers paid is what arrived, and what they are owed is due.
    assert_eq!(report["jobs"], plan.customers * plan.jobs_each, "seed {seed}");
    assert_eq!(report["jobsMsats"], "0", "seed {seed}: every paid job has ended");
    let msats = |sats: &AtomicU64| (sats.load(Ordering::SeqCst) * 1_000).to_string();
    assert_eq!(report["accountsMsats"]["wallet"], format!("-{}", msats(&tally.paid_sats)), "seed {seed}");
    assert_eq!(report["accountsMsats"]["refunds_due"], msats(&tally.owed_back_sats), "seed {seed}");
    assert!(troubles.kills > 0, "nothing was killed");
    assert!(matches!(store, Store::Sqlite) || troubles.restarts > 0, "the database was not restarted");
}
