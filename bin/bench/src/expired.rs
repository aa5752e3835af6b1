//! The cost of an idle server, and of its start, as jobs that nobody paid for pile up.

use crate::figures::{median, print_table};
use crate::fixture;
use crate::process::{self, Machine, Server};
use crate::{Rounds, versus};
use std::time::{Duration, Instant};
use tithe_clock::{Clock, SystemClock};
use tithe_test_postgres::Cluster;
use tokio::runtime::Runtime;

/// How long ago the oldest of the jobs expired. Payments that come late are still looked for, and nothing is deleted yet.
const OLDEST: Duration = Duration::from_hours(36);

/// How long a server may take for its first look at what may have been paid while no server ran.
const FIRST_LOOK: Duration = Duration::from_mins(5);

/// A database with so many expired jobs, with a server on it.
struct Place {
    jobs: u32,
    server: Server,
    started_in: Duration,
    /// CPU time of an idle second on the server and in the database, in milliseconds.
    cpu: Vec<f64>,
}

/// Runs the measurement, in rounds that visit every size.
pub(crate) fn run(jobs_max: u32, rounds: Rounds) {
    let runtime = Runtime::new().unwrap();
    let mut places = Vec::new();
    // A cluster each: the CPU time of a cluster is that of one size.
    let sizes = [1_000, jobs_max].map(|jobs| (jobs, fixture::cluster()));
    for (jobs, cluster) in &sizes {
        let jobs = *jobs;
        eprintln!("creating {jobs} expired jobs");
        cluster.create_database("expired").unwrap();
        let url = cluster.url("expired");
        runtime.block_on(fill(&url, jobs));
        let wallet = cluster.folder().join("wallet").display().to_string();
        let began = Instant::now();
        let server =
            Server::start(["--database", &url, "--wallet", &wallet, "--log", "warn", "--poll-seconds", "1"]);
        places.push(Place { jobs, server, started_in: began.elapsed(), cpu: Vec::new() });
    }
    Machine::settle(FIRST_LOOK);
    for _round in 0..rounds.rounds {
        for (place, (_, cluster)) in places.iter_mut().zip(&sizes) {
            place.measure(cluster, &runtime, rounds.seconds);
        }
    }
    print(&places, rounds);
    for (place, (jobs, cluster)) in places.into_iter().zip(&sizes) {
        place.server.stop();
        let left = runtime.block_on(fixture::number(&cluster.url("expired"), "SELECT count(*) FROM jobs"));
        assert_eq!(left, i64::from(*jobs), "jobs that are younger than the retention");
    }
}

impl Place {
    fn measure(&mut self, cluster: &Cluster, runtime: &Runtime, seconds: u64) {
        Machine::settle(versus::PATIENCE);
        let used = || self.server.cpu_seconds() + process::cluster_cpu_seconds(cluster.folder());
        let before = used();
        runtime.block_on(async { tokio::time::sleep(Duration::from_secs(seconds)).await });
        let millis = (used() - before) * 1e3 / seconds as f64;
        eprintln!("{} expired jobs: {millis:.1} ms of CPU per second", self.jobs);
        self.cpu.push(millis);
    }
}

/// Inserts jobs with their invoices directly into the tables.
async fn fill(url: &str, jobs: u32) {
    drop(fixture::open(url).await);
    let (now, oldest) = (SystemClock.now().unix_micros(), OLDEST.as_micros());
    let id = "'00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0')";
    let hash = "lpad(to_hex(n), 64, '0')";
    let expired = format!("{now} - 1000000 - n::bigint * {oldest} / {jobs}");
    let series = format!("generate_series(0, {jobs} - 1) AS n");
    let quote = "a quote that nobody reads any more";
    let statements = format!(
        "INSERT INTO jobs (id, model, state, eval_quote, eval_amount_msats, eval_invoice, refund_state, refund_amount_msats,
             revision, attempts, claims, created_at, updated_at, request)
         SELECT {id}, 'simulated', 'expired', '{quote}', 1000, {hash}, 'not_applicable', 0, 2, 0, 0,
             {expired} - 3600000000, {expired}, '' FROM {series};
         INSERT INTO invoices (payment_hash, purpose, owner, bolt11, amount_msats, state, created_at, expires_at)
         SELECT {hash}, 'job_eval', {id}, 'lnbcrt' || {hash}, 1000, 'expired', {expired} - 3600000000, {expired}
         FROM {series};"
    );
    fixture::execute(url, &statements).await;
    fixture::execute(url, "VACUUM ANALYZE").await;
    fixture::execute(url, "CHECKPOINT").await;
}

fn print(places: &[Place], rounds: Rounds) {
    println!(
        "an idle server that polls every second; medians of {} rounds of {} s; CPU of server and database in ms per second",
        rounds.rounds, rounds.seconds
    );
    let smallest = median(places[0].cpu.iter().copied());
    let row = |place: &Place| {
        let cpu = median(place.cpu.iter().copied());
        vec![
            place.jobs.to_string(),
            format!("{:.2}", place.started_in.as_secs_f64()),
            format!("{cpu:.1}"),
            format!("{:.2}", cpu / smallest),
            "start ≤ 1 s; CPU ≤ 1.2 ×".to_owned(),
        ]
    };
    print_table(
        &["expired jobs", "start s", "CPU", "CPU ×", "goal"],
        &places.iter().map(row).collect::<Vec<_>>(),
    );
}
