//! Everything at once: a rough wallet, a store that comes and goes, servers that die, stop and come back, a clock that
//! jumps. Every job ends, and [`Scene::finish`] accounts for every msat.

use crate::scene::{Scene, Server, eventually, job_of};
use std::time::Duration;
use tithe_clock::{Clock, Entropy, SeededEntropy};
use tithe_jobs::{Job, JobId};
use tithe_lightning::TestPayer;

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
        for hash in [job.evaluation.invoice, job.state.work_invoice()].into_iter().flatten() {
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

async fn soak(seed: u64) {
    let scene = Scene::open_rough("lose=100,fail=100,delay_ms=400").await;
    let chance = Chance(SeededEntropy::new(seed));
    let first = scene.started();
    let mut jobs = Vec::new();
    for n in 0..12 {
        let request = format!("{} {n}", REQUESTS[n % REQUESTS.len()]);
        let ask = async || first.create_keyed(&request, &request).await.ok();
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
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_every_job_ends_and_every_msat_is_accounted_for() {
    for seed in 0..12 {
        soak(seed).await;
    }
}
