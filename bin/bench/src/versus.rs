//! Compares Tithe with a floor, in rounds.

use crate::Rounds;
use crate::figures::{Figures, median, millis, print_table, rate};
use crate::load::{Load, Target};
use crate::process::{self, CALM, Machine, Server};
use std::path::Path;
use std::time::Duration;
use tithe_test_postgres::Cluster;

/// The goal at a number of connections.
pub(crate) struct Goal {
    pub(crate) connections: u32,
    pub(crate) text: &'static str,
}

/// The plan of a measurement.
pub(crate) struct Plan<'a> {
    pub(crate) url: &'a str,
    pub(crate) folder: &'a Path,
    pub(crate) cluster: Option<&'a Cluster>,
    pub(crate) target: Target,
    pub(crate) servers: u32,
    pub(crate) connections: &'a [u32],
    pub(crate) sessions: u32,
    pub(crate) log: &'a str,
    pub(crate) rounds: Rounds,
}

/// Generates the load of a round on all servers at once. The latencies are those of the slowest server.
fn load(servers: &[Server], target: Target, connections: u32, seconds: u64, sessions: u32) -> Load {
    let share = connections / servers.len() as u32;
    let loads: Vec<Load> = std::thread::scope(|scope| {
        let loads: Vec<_> = servers
            .iter()
            .map(|server| scope.spawn(|| Load::generate(&server.address, target, share, seconds, sessions)))
            .collect();
        loads.into_iter().map(|load| load.join().unwrap()).collect()
    });
    let figures = |of: fn(&Figures) -> f64| loads.iter().map(move |load| of(&load.figures));
    Load {
        figures: Figures {
            rate: figures(|f| f.rate).sum(),
            p50: figures(|f| f.p50).fold(0.0, f64::max),
            p99: figures(|f| f.p99).fold(0.0, f64::max),
        },
        answers: loads.iter().map(|load| load.answers).sum(),
        others: loads.iter().map(|load| load.others).sum(),
    }
}

/// The number of connections at which the floor is fastest; the goals refer to it.
const BEST: u32 = 32;

/// Rounds that other programs disturb are repeated, at most this many times the number of rounds.
const REPEATS: u32 = 3;

/// The longest time that a round waits for the machine to become idle.
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
    fn now(cluster: Option<&Cluster>, servers: &[Server]) -> Self {
        Self {
            machine: Machine::now(),
            server: servers.iter().map(Server::cpu_seconds).sum(),
            database: cluster.map_or(0.0, |cluster| process::cluster_cpu_seconds(cluster.folder())),
            client: process::our_cpu_seconds(),
        }
    }

    /// The CPU time used since `before`.
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

/// CPU time in microseconds per operation.
#[derive(Clone, Copy)]
struct Used {
    server: f64,
    database: f64,
    client: f64,
    /// The share of the machine that other programs used.
    others: f64,
}

impl Used {
    /// The median of each figure.
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

/// The results of the rounds at one number of connections.
#[derive(Default)]
struct Measured {
    floor: Vec<Figures>,
    /// The floor at the number of connections at which it is fastest.
    best: Vec<Figures>,
    tithe: Vec<Figures>,
    floor_cpu: Vec<Used>,
    tithe_cpu: Vec<Used>,
    /// The mean number of commands per batch.
    batch: Vec<f64>,
}

/// Runs all rounds, prints the results, and returns the number of charges made. `floor` runs the floor's side of a round and
/// returns how many charges it made in Tithe's database; `batches` counts Tithe's batches.
pub(crate) fn measure(
    plan: &Plan<'_>,
    floor: impl Fn(u32) -> (Figures, u64),
    batches: impl Fn() -> i64,
    goals: &[Goal],
) -> u64 {
    let Plan { cluster, sessions, .. } = *plan;
    let servers: Vec<Server> = (0..plan.servers)
        .map(|_| {
            let wallet = plan.folder.join("wallet").display().to_string();
            Server::start(["--database", plan.url, "--wallet", &wallet, "--log", plan.log])
        })
        .collect();
    let Rounds { rounds, seconds } = plan.rounds;
    println!(
        "{sessions} sessions, {} server(s); medians of {rounds} interleaved rounds of {seconds} s a side; ms; CPU in µs per \
         operation",
        plan.servers
    );
    let mut charges = 0;
    let mut table = Vec::new();
    for &connections in plan.connections {
        let mut measured = Measured::default();
        let (mut round, mut repeats) = (0, rounds * REPEATS);
        while round <= rounds {
            Machine::settle(PATIENCE);
            let start = Cpu::now(cluster, &servers);
            let best = (connections > BEST).then(|| floor(BEST));
            let (best, made_at_best) = best.map_or((None, 0), |(best, made)| (Some(best), made));
            let before = Cpu::now(cluster, &servers);
            let (figures, made) = floor(connections);
            let between = Cpu::now(cluster, &servers);
            let batches_before = batches();
            let load = load(&servers, plan.target, connections, seconds, sessions);
            let after = Cpu::now(cluster, &servers);
            let batches = (batches() - batches_before) as f64;
            charges += made_at_best + made + load.answers;
            let floor_used = between.since(before, figures.rate * seconds as f64);
            let tithe_used = after.since(between, load.answers as f64);
            // Without a second floor no time passes between the two readings, and the share is undefined.
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
                    ": warm-up"
                } else if disturbed {
                    ": disturbed, repeating"
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
    servers.into_iter().for_each(Server::stop);
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
    /// One row for each side.
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
