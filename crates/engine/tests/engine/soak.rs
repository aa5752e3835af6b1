//! Everything at once: a rough wallet, a store that comes and goes, servers that die, stop and come back, a clock that
//! jumps. Every job ends, and [`Scene::finish`] accounts for every msat.

use crate::scene::{Scene, Server, asking, eventually, job_of, keyed, somebody};
use std::time::Duration;
use tithe_clock::{Clock, Entropy, SeededEntropy};
use tithe_engine::Settings;
use tithe_engine::jobs::NewJobRequest;
use tithe_free_tier::FreeTierRepository;
use tithe_jobs::{Job, JobId};
use tithe_lightning::TestPayer;
use tithe_money::{Msats, Sats};

const REQUESTS: [&str; 6] =
    ["plain", "[sim:slow=300]", "[sim:reject]", "[sim:die]", "[sim:fail-evaluation]", "[sim:no-usage]"];

/// Chance, the same for the same seed.
struct Chance(SeededEntropy);

impl Chance {
    fn below(&self, limit: u64) -> u64 {
        let entropy: &dyn Entropy = &self.0;
        u64::from_le_bytes(entropy.bytes()) % limit
    }

    async fn wait(&self, at_most: Duration) {
        let millis = u64::try_from(at_most.as_millis()).unwrap();
        tokio::time::sleep(Duration::from_millis(self.below(millis))).await;
    }
}

/// Pays whatever is asked for, as long as it can be paid.
async fn customer(scene: &Scene, id: JobId) -> Job {
    loop {
        let job = scene.job(id).await;
        if job.state.name().is_terminal() {
            return job;
        }
        for hash in [job.evaluation_invoice(), job.state.work_invoice()].into_iter().flatten() {
            let invoice = scene.invoice(hash).await;
            let _paid_or_expired = scene.wallet.pay(&invoice.payment_request.parse().unwrap()).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Servers come and go. Those that died are left as they are.
async fn misfortune(scene: &Scene, chance: &Chance) -> Vec<Server> {
    let mut dead = Vec::new();
    for _ in 0..7 {
        let mut server = scene.started();
        chance.wait(Duration::from_secs(12)).await;
        match chance.below(4) {
            0 => server.stop(Duration::from_millis(200)).await,
            1 => {
                scene.store_faults.take_away();
                chance.wait(Duration::from_secs(40)).await;
                scene.store_faults.mend();
                dead.push(server);
            }
            2 => {
                server.power.cut();
                scene.clock.advance(scene.settings.lease + Duration::from_secs(1));
                dead.push(server);
            }
            _ => {
                scene.clock.advance(Duration::from_secs(chance.below(90)));
                server.power.cut();
                chance.wait(Duration::from_secs(5)).await;
                server.power.mend();
                dead.push(server);
            }
        }
    }
    dead
}

/// Strangers may take enough for a few jobs a day, of a pool that runs dry.
fn generous(settings: &mut Settings, seed: u64) {
    let free_tier = &mut settings.rules.free_tier;
    free_tier.budgets.new = Sats::new(20 + seed * 13 % 80).unwrap();
    free_tier.pool_initial = Sats::new(60 + seed * 29 % 100).unwrap();
}

async fn soak(seed: u64) {
    let mut scene = Scene::open_rough("lose=100,fail=100,delay_ms=400").await;
    generous(&mut scene.settings, seed);
    scene.server().engine.pool.open().await.unwrap();
    let chance = Chance(SeededEntropy::new(seed));
    let first = scene.started();
    let mut jobs = Vec::new();
    for n in 0..12 {
        let request = format!("{} {n}", REQUESTS[n % REQUESTS.len()]);
        // Every third is anonymous; the others are of three identities.
        let identity = (n % 3 > 0).then(|| somebody(u8::try_from(n / 4 + 1).unwrap()));
        let ask = async || {
            let new = NewJobRequest { identity, ..asking(&request) };
            first.create_with(new, Some(keyed(&request, &request))).await.ok()
        };
        jobs.push(job_of(&eventually("the job is taken on", ask).await));
    }
    first.power.cut();
    let customers = futures_util::future::join_all(jobs.iter().map(|id| customer(&scene, *id)));
    let luck = async {
        let dead = misfortune(&scene, &chance).await;
        (scene.started(), dead)
    };
    let both = async { tokio::join!(customers, luck) };
    let ended = tokio::time::timeout(Duration::from_hours(2), both).await;
    let (ended, (_last, dead)) = ended.unwrap_or_else(|_| panic!("seed {seed}: a job never ends"));
    // Whoever was thought dead comes back and finds everything done.
    for server in dead.iter().chain([&first]) {
        server.power.mend();
    }
    let now = scene.clock.now();
    tokio::time::sleep(scene.settings.lease * 2).await;
    assert!(scene.clock.now() > now);
    for job in ended {
        let later = scene.job(job.id).await;
        assert_eq!(later.state, job.state, "seed {seed}");
    }
    // Nothing is left set aside, and the pool has what it was given less what it gave.
    let pool = first.engine.pool.status().await.unwrap();
    assert_eq!(pool.reserved, Msats::ZERO, "seed {seed}");
    for n in 1..=3 {
        let day = scene.store.identity(somebody(n)).await.unwrap().unwrap().window;
        assert_eq!((day.reserved, day.offer), (Msats::ZERO, None), "seed {seed}");
    }
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_every_job_ends_and_every_msat_is_accounted_for() {
    for seed in 0..12 {
        soak(seed).await;
    }
}
