//! Who kills the servers, and who crashes the database.

use crate::server::Server;
use crate::store::Store;
use crate::{Plan, any_of, random};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tithe_clock::{Entropy, SeededEntropy};
use tithe_test_postgres::Cluster;

/// How often one looks whether all is over.
const TICK: Duration = Duration::from_millis(20);

/// How long a server may take to come up: the database may be away meanwhile.
const COMES_UP: Duration = Duration::from_mins(2);

/// How long the database is away at most, which is longer than the store's patience.
const LONGEST_OUTAGE_MS: u64 = 9_000;

/// Trouble that goes on until it is ended.
pub(crate) struct Trouble {
    over: Arc<AtomicBool>,
    killer: JoinHandle<Killed>,
    crasher: Option<JoinHandle<u32>>,
}

/// What happened to the servers.
struct Killed {
    servers: Vec<Server>,
    kills: u32,
    starts_refused: u32,
}

/// What there was of it.
pub(crate) struct Troubles {
    pub(crate) servers: Vec<Server>,
    pub(crate) kills: u32,
    pub(crate) starts_refused: u32,
    pub(crate) restarts: u32,
}

impl Trouble {
    pub(crate) fn begin(store: &Store, servers: Vec<Server>, plan: &Plan, seed: u64) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (kill_every, restart_every) = (plan.kill_every_ms, plan.restart_every_ms);
        let killer = std::thread::spawn({
            let over = over.clone();
            move || kill_at_random(servers, &over, &SeededEntropy::new(seed), kill_every)
        });
        let crasher = match store {
            Store::Sqlite | Store::Pair(_) => None,
            Store::Postgres(cluster) => {
                let (cluster, over) = (cluster.clone(), over.clone());
                let entropy = SeededEntropy::new(!seed);
                Some(std::thread::spawn(move || crash_at_random(&cluster, &over, &entropy, restart_every)))
            }
        };
        Self { over, killer, crasher }
    }

    /// Returns when there is none any more though nobody has ended it: something is wrong, and `end` says what.
    pub(crate) async fn ended_early(&self) {
        while !self.killer.is_finished() && self.crasher.as_ref().is_none_or(|crasher| !crasher.is_finished())
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends it. All servers and the database are up then.
    pub(crate) fn end(self) -> Troubles {
        self.over.store(true, Ordering::SeqCst);
        let restarts = self.crasher.map_or(0, |crasher| crasher.join().unwrap());
        let Killed { servers, kills, starts_refused } = self.killer.join().unwrap();
        Troubles { servers, kills, starts_refused, restarts }
    }
}

fn kill_at_random(
    mut servers: Vec<Server>,
    over: &AtomicBool,
    entropy: &dyn Entropy,
    every_ms: (u64, u64),
) -> Killed {
    let (mut kills, mut starts_refused) = (0, 0);
    loop {
        let moment = Instant::now() + Duration::from_millis(random(entropy, every_ms.0, every_ms.1));
        while Instant::now() < moment && !over.load(Ordering::SeqCst) {
            servers.iter_mut().for_each(Server::assert_runs);
            std::thread::park_timeout(TICK);
        }
        if over.load(Ordering::SeqCst) {
            return Killed { servers, kills, starts_refused };
        }
        let victim = any_of(&servers, entropy);
        servers[victim].kill();
        kills += 1;
        starts_refused += restart(&mut servers[victim]);
    }
}

/// Starts a server as its supervisor would, which tries again; says how often the database was away.
fn restart(server: &mut Server) -> u32 {
    let deadline = Instant::now() + COMES_UP;
    let mut refused = 0;
    while let Err(told) = server.restart() {
        let away = ["the database at", "cannot open the pool", "the database is not available"];
        assert!(away.iter().any(|away| told.contains(away)), "{told}");
        assert!(Instant::now() < deadline, "{told}");
        refused += 1;
        std::thread::park_timeout(Duration::from_millis(100));
    }
    refused
}

fn crash_at_random(cluster: &Cluster, over: &AtomicBool, entropy: &dyn Entropy, every_ms: (u64, u64)) -> u32 {
    let mut restarts = 0;
    loop {
        pause(Duration::from_millis(random(entropy, every_ms.0, every_ms.1)), over);
        if over.load(Ordering::SeqCst) {
            return restarts;
        }
        // Mostly it is back before anybody loses patience, but not always.
        let back = if random(entropy, 0, 5) == 0 {
            cluster.stop_immediate().and_then(|()| {
                pause(Duration::from_millis(random(entropy, 0, LONGEST_OUTAGE_MS)), over);
                cluster.start_again()
            })
        } else {
            cluster.restart_immediate()
        };
        back.unwrap_or_else(|error| panic!("{error}"));
        restarts += 1;
    }
}

/// Until it is time, or all is over.
fn pause(duration: Duration, over: &AtomicBool) {
    let moment = Instant::now() + duration;
    while Instant::now() < moment && !over.load(Ordering::SeqCst) {
        std::thread::park_timeout(TICK);
    }
}
