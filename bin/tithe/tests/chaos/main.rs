//! Customers buy while servers are killed at random moments, and the database crashes under them.
//!
//! `just chaos` kills one server on SQLite; `just chaos postgres` kills three servers on one PostgreSQL database, and also
//! restarts that; `… short` is what CI runs. Some customers are anonymous, the others of every tier; some of these log in, and
//! some sign each request; and the pool pays for what it can. What must hold: every job that was paid ends, complete or failed
//! with its refund due; nobody is charged twice; what the pool pays is in its books, to the last job, and nothing stays
//! reserved; every request of a session is charged once, and what the session has left is due; every install is served exactly what its
//! plan includes; every retry finds its answer; a customer sees nothing worse than "try again"; `tithe audit` finds nothing; and no
//! server ends but by the killer's hand.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod asker;
mod customer;
mod install;
#[path = "../server/mod.rs"]
mod server;
mod session;
mod store;
mod tally;
mod trouble;

use asker::{Asker, Proof, Who};
use customer::Customer;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use store::{POOL_SATS, Store, TIERS};
use tally::Tally;
use tithe_clock::{Entropy, SeededEntropy, SystemEntropy};
use tithe_trust::{Score, SecretKey};
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
            (Store::Postgres(_), true) => (30, 10),
        };
        let (kill_every_ms, restart_every_ms) =
            if long { ((300, 2_000), (1_000, 4_000)) } else { ((300, 1_500), (500, 2_000)) };
        let (sessions, installs) = (customers / 3, customers / 5);
        Self { customers, jobs_each, sessions, installs, kill_every_ms, restart_every_ms }
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

/// Customers by number: of each five one is anonymous and the others begin in a tier each; of each ten, five log in and the
/// others sign each request.
struct Crowd<'a> {
    store: &'a Store,
    folder: &'a Path,
    addresses: Vec<String>,
    tally: Arc<Tally>,
    seed: u64,
}

impl Crowd<'_> {
    async fn customer(&self, number: u64) -> Customer {
        let entropy = SeededEntropy::new(self.seed ^ number);
        let tier = usize::try_from(number % 5).unwrap().checked_sub(1).map(|place| TIERS[place]);
        let signs = number / 5 % 2 == 1;
        let key = || {
            let entropy: &dyn Entropy = &SeededEntropy::new(!self.seed ^ number);
            SecretKey::from_bytes(entropy.bytes()).unwrap()
        };
        let proof = || if signs { Proof::EachRequest } else { Proof::Token(Mutex::new(None)) };
        let who = tier.map(|_| Who { key: key(), proof: proof() });
        let asker = Asker::new(self.addresses.clone(), self.tally.clone(), entropy, who);
        if let (Some(pubkey), Some((_, score))) = (asker.pubkey(), tier) {
            self.store.trust(self.folder, pubkey, Score::points(score)).await;
        }
        Customer::new(asker)
    }
}

/// A server's answer, when there is no trouble.
async fn read(server: &server::Server, path: &str) -> Value {
    let answer = reqwest::get(server.url(path)).await.unwrap().error_for_status().unwrap();
    answer.json().await.unwrap()
}

/// That the pool's books say of every job what its customer was told.
async fn check_pool(store: &Store, folder: &Path, report: &Value, tally: &Tally) {
    let mut sums = BTreeMap::<String, i64>::new();
    let mut granted = BTreeMap::new();
    for transfer in store.pool_transfers(folder).await {
        *sums.entry(transfer.kind.clone()).or_default() += transfer.amount_msats;
        if transfer.kind == "grant" {
            let sats = u64::try_from(transfer.amount_msats).unwrap().div_ceil(1_000);
            assert!(granted.insert(transfer.reference, sats).is_none(), "the pool has paid a job twice");
        }
    }
    let least = tally.pool_least_msats.load(Ordering::SeqCst);
    println!("the pool, in msats: {sums:?}; the least that was free: {least}");
    let sum = |kind| sums.get(kind).copied().unwrap_or_default();
    assert_eq!(sum("pool_seed"), i64::try_from(POOL_SATS * 1_000).unwrap());
    let left = sum("pool_seed") + sum("tithe") - sum("grant");
    assert_eq!(report["accountsMsats"]["pool"], left.to_string());
    assert_eq!(sums.len(), 3, "nothing else moves the pool's money");
    assert_eq!(report["grants"], granted.len());
    assert_eq!(granted, tally.absorbed());
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
    let customers = runtime.block_on(async {
        futures_util::future::join_all((1..=plan.customers).map(|number| crowd.customer(number))).await
    });

    let began = Instant::now();
    let trouble = Trouble::begin(&store, servers, &plan, seed);
    let buying = runtime.block_on(async {
        let mut buyers = tokio::task::JoinSet::new();
        for customer in customers {
            buyers.spawn(customer.buy_all(plan.jobs_each));
        }
        for number in 0..plan.sessions {
            let entropy = SeededEntropy::new(seed ^ (1_000 + number));
            let asker = Asker::new(crowd.addresses.clone(), tally.clone(), entropy, None);
            buyers.spawn(session::spend(asker, number, plan.jobs_each));
        }
        for number in 0..plan.installs {
            let entropy = SeededEntropy::new(seed ^ (2_000 + number));
            let id = tithe_ledger::uuid::Uuid::from_u64_pair(seed, number).to_string();
            let asker = Asker::new(crowd.addresses.clone(), tally.clone(), entropy, None).with_install(id);
            buyers.spawn(install::use_up(asker, number));
        }
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
    let pool = runtime.block_on(read(&servers[0], "/api/pool"));
    assert_eq!(pool["reservedMsats"], 0, "seed {seed}: {pool}");
    for server in &mut servers {
        assert!(server.stop());
    }
    let audited = servers[0].run(&["audit", "--json"]);
    let report: Value = serde_json::from_slice(&audited.stdout)
        .unwrap_or_else(|wrong| panic!("{wrong}: {}", String::from_utf8_lossy(&audited.stderr)));
    println!("{} jobs in {:.1?}: {:?}", report["jobs"], began.elapsed(), tally.ends.all());
    println!(
        "{} kills, {} restarts of the database, {} starts of a server while it was away",
        troubles.kills, troubles.restarts, troubles.starts_refused
    );
    println!("customers tried again: {:?}", tally.retries.all());
    println!("seen in tiers: {:?}", tally.tiers.all());
    println!("the pool served: {:?}", tally.served.all());
    assert_eq!(report["sound"], true, "seed {seed}: {report:#}");
    // Each key made one job, whatever was retried; what customers paid is what arrived, and what they are owed is due.
    assert_eq!(report["jobs"], plan.customers * plan.jobs_each, "seed {seed}");
    assert_eq!(report["jobsMsats"], "0", "seed {seed}: every paid job has ended");
    assert_eq!(report["sessionsMsats"], "0", "seed {seed}: every session is closed");
    let msats = |sats: &AtomicU64| (sats.load(Ordering::SeqCst) * 1_000).to_string();
    assert_eq!(report["accountsMsats"]["wallet"], format!("-{}", msats(&tally.paid_sats)), "seed {seed}");
    assert_eq!(report["accountsMsats"]["refunds_due"], msats(&tally.owed_back_sats), "seed {seed}");
    runtime.block_on(check_pool(&store, folder.path(), &report, &tally));
    let (tiers, served) = (tally.tiers.all(), tally.served.all());
    assert!(tiers.len() >= 3, "seed {seed}: {tiers:?}");
    assert!(!long || ["free", "partial", "gate"].iter().all(|how| served.contains_key(*how)), "{served:?}");
    assert!(troubles.kills > 0, "nothing was killed");
    assert!(matches!(store, Store::Sqlite) || troubles.restarts > 0, "the database was not restarted");
}
