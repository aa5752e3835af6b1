//! Debits over HTTP against the floor of the database.

use crate::Rounds;
use crate::figures::{Figures, median, millis, print_table, rate};
use crate::floor::Floor;
use crate::ground;
use crate::load::{Load, Target};
use crate::process::{self, CALM, Machine, Server};
use clap::Args;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tithe_clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tithe_engine::commands::Batch;
use tithe_engine::store::Store;
use tithe_money::Msats;
use tithe_test_postgres::Cluster;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// What is measured.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// On SQLite instead of PostgreSQL
    #[arg(long)]
    sqlite: bool,
    /// How many connections at once
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32, 256])]
    connections: Vec<u32>,
    /// How many sessions there are
    #[arg(long, default_value_t = 10_000)]
    sessions: u32,
    /// What the server logs
    #[arg(long, default_value = "warn")]
    log: String,
    #[command(flatten)]
    rounds: Rounds,
}

/// The goals of both databases at a number of connections.
struct Goal {
    connections: u32,
    text: &'static str,
}

const POSTGRES: [Goal; 3] = [
    Goal { connections: 1, text: "p50 ≤ 4.5 ×, reach for 3 ×" },
    Goal { connections: 32, text: "rate ≥ 0.7 ×, reach for 0.85 ×; p99 ≤ 1.5 ×, reach for 1 ×" },
    Goal { connections: 256, text: "rate ≥ 1.0 × best, reach for 1.4 ×" },
];

const SQLITE: [Goal; 1] = [Goal { connections: 32, text: "rate ≥ 2 ×, reach for 4 ×" }];

/// The number of connections that suits the floor best, and that the goals mean.
const BEST: u32 = 32;

/// A round in which other programs disturb is repeated: so many times as many rounds as are asked for, at most.
const REPEATS: u32 = 3;

/// How long a round waits for other programs to leave the machine alone.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// CPU time, in seconds.
#[derive(Clone, Copy)]
struct Cpu {
    server: f64,
    database: f64,
    client: f64,
    machine: Machine,
}

impl Cpu {
    fn now(cluster: Option<&Cluster>, server: &Server) -> Self {
        Self {
            machine: Machine::now(),
            server: server.cpu_seconds(),
            database: cluster.map_or(0.0, |cluster| process::cluster_cpu_seconds(cluster.folder())),
            client: process::our_cpu_seconds(),
        }
    }

    /// What was used since `before`.
    fn since(self, before: Self, operations: f64) -> Used {
        let (server, database) = (self.server - before.server, self.database - before.database);
        let client = self.client - before.client;
        let each = |seconds| seconds * 1e6 / operations;
        Used {
            server: each(server),
            database: each(database),
            client: each(client),
            others: self.machine.others_since(before.machine, server + database + client),
        }
    }
}

/// CPU time, in microseconds of each operation.
#[derive(Clone, Copy)]
struct Used {
    server: f64,
    database: f64,
    client: f64,
    /// The part of the machine that other programs used.
    others: f64,
}

impl Used {
    /// Each one's own median.
    fn median(rounds: &[Self]) -> Self {
        let of = |part: fn(&Self) -> f64| median(rounds.iter().map(part));
        Self {
            server: of(|c| c.server),
            database: of(|c| c.database),
            client: of(|c| c.client),
            others: of(|c| c.others),
        }
    }
}

/// What the rounds of one number of connections came to.
#[derive(Default)]
struct Measured {
    floor: Vec<Figures>,
    /// The floor at the number of connections that suits it best.
    best: Vec<Figures>,
    tithe: Vec<Figures>,
    floor_cpu: Vec<Used>,
    tithe_cpu: Vec<Used>,
    /// Commands in a batch, on average.
    batch: Vec<f64>,
}

/// Measures.
pub(crate) fn run(options: &Options) {
    let runtime = Runtime::new().unwrap();
    if options.sqlite { sqlite(options, &runtime) } else { postgres(options, &runtime) }
}

fn postgres(options: &Options, runtime: &Runtime) {
    let cluster = ground::cluster();
    // It goes with the cluster, however this process ends.
    let folder = tempfile::tempdir_in(cluster.folder()).unwrap();
    let url = cluster.url("tithe");
    cluster.create_database("tithe").unwrap();
    let floor = runtime.block_on(async {
        ground::fund(ground::open(&url).await.as_ref(), options.sessions).await;
        let floor = Floor::make(&cluster, folder.path(), options.sessions).await;
        ground::execute(&url, "VACUUM ANALYZE").await;
        ground::execute(&url, "CHECKPOINT").await;
        floor
    });
    let batches =
        || runtime.block_on(ground::number(&url, "SELECT coalesce(sum(batch), 0)::bigint FROM committers"));
    let each = |connections| (floor.round(connections, options.rounds.seconds), 0);
    let charges = measure(options, &url, folder.path(), Some(&cluster), each, batches, &POSTGRES);
    runtime.block_on(async {
        floor.check().await;
        ground::check(ground::open(&url).await.as_ref(), options.sessions, charges).await;
    });
    println!("checked: {charges} answers of 200, as many charges; the books balance");
}

fn sqlite(options: &Options, runtime: &Runtime) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("bench.db").display());
    let store = runtime.block_on(async {
        let store = ground::open(&url).await;
        ground::fund(store.as_ref(), options.sessions).await;
        store
    });
    let each = |connections| runtime.block_on(alone(&store, connections, options));
    let charges = measure(options, &url, folder.path(), None, each, || 0, &SQLITE);
    runtime.block_on(ground::check(store.as_ref(), options.sessions, charges));
    println!("checked: {charges} charges answered for, as many in the database; the books balance");
}

/// The floor of SQLite: callers who each commit a transaction of their own for each debit.
async fn alone(store: &Arc<dyn Store>, callers: u32, options: &Options) -> (Figures, u64) {
    let began = Instant::now();
    let time = Duration::from_secs(options.rounds.seconds);
    let sessions = options.sessions;
    let mut loops = JoinSet::new();
    for _ in 0..callers {
        let store = Arc::clone(store);
        loops.spawn(async move {
            let mut micros = Vec::new();
            while began.elapsed() < time {
                let session = u32::from_le_bytes(<dyn Entropy>::bytes(&SystemEntropy)) % sessions;
                let command = ground::debit(session, Msats::new(1).unwrap(), &SystemClock, &SystemEntropy);
                let asked = Instant::now();
                let batch = Batch::new(vec![command], SystemClock.now());
                store.batch_commit(&batch).await.unwrap().outcomes.remove(0).unwrap();
                micros.push(asked.elapsed().as_micros() as u32);
            }
            micros
        });
    }
    let micros: Vec<u32> = loops.join_all().await.into_iter().flatten().collect();
    (Figures::of(micros.len(), began.elapsed().as_secs_f64(), micros.clone()), micros.len() as u64)
}

/// Runs all rounds and prints what they came to. Returns how many charges were made. `floor` runs the other side of a
/// round, and says how many charges that made; `batches` counts Tithe's batches.
fn measure(
    options: &Options,
    url: &str,
    folder: &Path,
    cluster: Option<&Cluster>,
    floor: impl Fn(u32) -> (Figures, u64),
    batches: impl Fn() -> i64,
    goals: &[Goal],
) -> u64 {
    let wallet = folder.join("wallet").display().to_string();
    let server = Server::start(["--database", url, "--wallet", &wallet, "--log", &options.log]);
    let Rounds { rounds, seconds } = options.rounds;
    println!(
        "{} sessions; medians of {rounds} interleaved rounds of {seconds} s a side; ms; CPU in µs of each operation",
        options.sessions
    );
    let mut charges = 0;
    let mut table = Vec::new();
    for &connections in &options.connections {
        let mut measured = Measured::default();
        let (mut round, mut repeats) = (0, rounds * REPEATS);
        while round <= rounds {
            Machine::settle(PATIENCE);
            let start = Cpu::now(cluster, &server);
            let best = (connections > BEST).then(|| floor(BEST));
            let (best, made_at_best) = best.map_or((None, 0), |(best, made)| (Some(best), made));
            let before = Cpu::now(cluster, &server);
            let (figures, made) = floor(connections);
            let between = Cpu::now(cluster, &server);
            let batches_before = batches();
            let load =
                Load::generate(&server.address, Target::Charge, connections, seconds, options.sessions);
            let after = Cpu::now(cluster, &server);
            let batches = (batches() - batches_before) as f64;
            charges += made_at_best + made + load.answers;
            let floor_used = between.since(before, figures.rate * seconds as f64);
            let tithe_used = after.since(between, load.answers as f64);
            // Without a second floor no time passes there, and a part of nothing means nothing.
            let at_best = if best.is_some() { before.since(start, 1.0).others } else { 0.0 };
            let others = floor_used.others.max(tithe_used.others).max(at_best);
            let disturbed = others > CALM && repeats > 0;
            eprintln!(
                "{connections} connections, round {round}: floor {}/s, Tithe {}/s, {:.2} ×, others used {:.0} %{}",
                rate(figures.rate),
                rate(load.figures.rate),
                load.figures.rate / figures.rate,
                others * 100.0,
                if round == 0 {
                    ": warm"
                } else if disturbed {
                    ": again"
                } else {
                    ""
                }
            );
            if round > 0 && disturbed {
                repeats -= 1;
                continue;
            }
            // The first round warms up.
            round += 1;
            if round == 1 {
                continue;
            }
            measured.best.push(best.unwrap_or(figures));
            measured.floor.push(figures);
            measured.tithe.push(load.figures);
            measured.floor_cpu.push(floor_used);
            measured.tithe_cpu.push(tithe_used);
            measured.batch.push(load.answers as f64 / batches);
        }
        table.extend(measured.rows(connections, goals));
    }
    server.stop();
    let heads = [
        "connections",
        "side",
        "per s",
        "p50",
        "p99",
        "CPU server",
        "database",
        "client",
        "others",
        "batch",
        "rate × floor's best",
        "rate ×",
        "p50 ×",
        "p99 ×",
        "goal",
    ];
    print_table(&heads, &table);
    charges
}

impl Measured {
    /// A line for each side.
    fn rows(&self, connections: u32, goals: &[Goal]) -> [Vec<String>; 2] {
        let ratio = |floor: &[Figures], of: fn(&Figures) -> f64| {
            let pairs = self.tithe.iter().zip(floor);
            format!("{:.2}", median(pairs.map(|(tithe, floor)| of(tithe) / of(floor))))
        };
        let goal = goals.iter().find(|goal| goal.connections == connections);
        let cells = |side: &str, figures: &[Figures], cpu: &[Used]| {
            let (figures, cpu) = (Figures::median(figures), Used::median(cpu));
            let used = |micros: f64| format!("{micros:.1}");
            vec![
                connections.to_string(),
                side.to_owned(),
                rate(figures.rate),
                millis(figures.p50),
                millis(figures.p99),
                used(cpu.server),
                used(cpu.database),
                used(cpu.client),
                format!("{:.0} %", cpu.others * 100.0),
            ]
        };
        let mut floor = cells("floor", &self.floor, &self.floor_cpu);
        floor.resize(15, String::new());
        let mut tithe = cells("Tithe", &self.tithe, &self.tithe_cpu);
        tithe.extend([
            Some(median(self.batch.iter().copied()))
                .filter(|batch| batch.is_finite())
                .map_or(String::new(), |batch| format!("{batch:.1}")),
            ratio(&self.best, |f| f.rate),
            ratio(&self.floor, |f| f.rate),
            ratio(&self.floor, |f| f.p50),
            ratio(&self.floor, |f| f.p99),
            goal.map_or(String::new(), |goal| goal.text.to_owned()),
        ]);
        [floor, tithe]
    }
}
