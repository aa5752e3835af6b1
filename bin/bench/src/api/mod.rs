//! Chat completions over HTTP, whole and streamed, against a mock upstream that is measured alone in the same rounds.

mod shop;
mod streams;
mod upstream;

use crate::Rounds;
use crate::figures::{Figures, median, millis, print_table, rate};
use crate::load::{Load, Target};
use crate::process::{CALM, Machine, Memory};
use crate::prompt::{ALONE, Plan};
use crate::versus::PATIENCE;
use clap::{Args, ValueEnum};
use shop::{Shop, Used};
pub(crate) use streams::{Options as StreamLoad, run as generate_streams};
use streams::{Stream, Streamed};
use tokio::task::JoinSet;
pub(crate) use upstream::run as serve_upstream;

/// The options of the measurement.
#[derive(Args)]
pub(crate) struct Options {
    /// What is measured
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Whole, Part::Stream, Part::Open])]
    parts: Vec<Part>,
    /// Numbers of concurrent connections
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32])]
    connections: Vec<u32>,
    /// Measure on SQLite instead of PostgreSQL
    #[arg(long)]
    sqlite: bool,
    /// Number of sessions
    #[arg(long, default_value_t = 10_000)]
    sessions: u32,
    /// Number of open streams; as many as the limit of open files allows
    #[arg(long, default_value_t = 10_000)]
    streams: u32,
    /// Do not wait until other programs leave the machine alone, and keep rounds that they disturb
    #[arg(long)]
    busy: bool,
    #[command(flatten)]
    rounds: Rounds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Whole answers.
    Whole,
    /// Streams, paced and back to back.
    Stream,
    /// The memory of many open streams.
    Open,
}

/// A stream whose chunks come one by one, like those of a fast model.
const PACED: Plan = Plan { chunks: 100, micros: 2_000 };

/// A stream whose chunks come as fast as the mock writes them.
const BACK_TO_BACK: Plan = Plan { chunks: 1_000, micros: 0 };

/// A stream that stays open after its first chunk.
const OPEN: Plan = Plan { chunks: 2, micros: 600_000_000 };

/// Runs the measurement.
pub(crate) fn run(options: &Options) {
    let shop = Shop::open(options.sqlite, options.sessions);
    let (store, sessions) = (if options.sqlite { "SQLite" } else { "PostgreSQL" }, options.sessions);
    let Rounds { rounds, seconds } = options.rounds;
    println!(
        "{store}, {sessions} sessions; medians of {rounds} interleaved rounds of {seconds} s a side; CPU in µs per operation"
    );
    print_memory("at the start", shop.memory());
    for part in &options.parts {
        match part {
            Part::Whole => whole(options, &shop),
            Part::Stream => {
                stream(options, &shop, PACED);
                stream(options, &shop, BACK_TO_BACK);
            }
            Part::Open => open(options, &shop),
        }
    }
    let answers = shop.close();
    println!("checked: {answers} answers of the upstream were charged at its own count; the books balance");
}

fn print_memory(when: &str, memory: Memory) {
    let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
    println!(
        "memory {when}: {:.0} MiB resident, {:.0} MiB private",
        mib(memory.resident),
        mib(memory.private)
    );
}

/// One side of the rounds.
#[derive(Default)]
struct Side<T> {
    measured: Vec<T>,
    used: Vec<Used>,
}

impl<T> Side<T> {
    fn median(&self, of: impl Fn(&T) -> f64) -> f64 {
        median(self.measured.iter().map(of))
    }

    fn cpu(&self, of: fn(&Used) -> f64) -> String {
        format!("{:.1}", median(self.used.iter().map(of)))
    }
}

/// Rounds that other programs disturb are repeated, at most this many times the number of rounds.
const REPEATS: u32 = 3;

/// Measures the mock alone and then Tithe, in each round. `operations` says how many there were.
fn measure<T: std::fmt::Debug>(
    options: &Options,
    shop: &Shop,
    alone: impl Fn() -> T,
    tithe: impl Fn() -> T,
    operations: impl Fn(&T) -> u64,
) -> [Side<T>; 2] {
    let mut sides = [(); 2].map(|()| Side { measured: Vec::new(), used: Vec::new() });
    let (mut round, mut repeats) = (0, options.rounds.rounds * REPEATS);
    while round <= options.rounds.rounds {
        if !options.busy {
            Machine::settle(PATIENCE);
        }
        let before = shop.cpu();
        let floor = alone();
        let between = shop.cpu();
        let measured = tithe();
        let after = shop.cpu();
        let used = [between.since(before, operations(&floor)), after.since(between, operations(&measured))];
        let others = used.iter().map(|used| used.others).fold(0.0, f64::max);
        eprintln!("round {round}: others used {:.0} %: {floor:?}, {measured:?}", others * 100.0);
        if round > 0 && others > CALM && repeats > 0 && !options.busy {
            repeats -= 1;
            continue;
        }
        // The first round warms up.
        if round > 0 {
            for ((side, measured), used) in sides.iter_mut().zip([floor, measured]).zip(used) {
                side.measured.push(measured);
                side.used.push(used);
            }
        }
        round += 1;
    }
    sides
}

/// Measures whole answers.
fn whole(options: &Options, shop: &Shop) {
    let mut rows = Vec::new();
    for &connections in &options.connections {
        let load = |address: &str, target| {
            Load::generate(address, target, connections, options.rounds.seconds, options.sessions)
        };
        let batches_before = shop.batches();
        let [alone, tithe] = measure(
            options,
            shop,
            || load(&shop.upstream.address, Target::ChatAlone),
            || load(&shop.address, Target::Chat),
            |load| load.answers,
        );
        let commits = 2.0 * tithe.measured.iter().map(|load| load.answers as f64).sum::<f64>();
        let batch = commits / (shop.batches() - batches_before) as f64;
        for (name, side) in [("mock alone", &alone), ("Tithe", &tithe)] {
            let figures = Figures::median(&side.measured.iter().map(|load| load.figures).collect::<Vec<_>>());
            let is_tithe = name == "Tithe";
            let only = |text: String| if is_tithe { text } else { String::new() };
            rows.push(vec![
                connections.to_string(),
                name.to_owned(),
                rate(figures.rate),
                millis(figures.p50),
                millis(figures.p99),
                side.cpu(|used| used.server),
                side.cpu(|used| used.database),
                side.cpu(|used| used.upstream),
                side.cpu(|used| used.client),
                format!("{:.0} %", 100.0 * median(side.used.iter().map(|used| used.others))),
                only(if batch.is_finite() { format!("{batch:.1}") } else { String::new() }),
                only(
                    if connections == 32 { "≥ 5000/s, p99 < 30; reach for 8000/s, p99 < 10" } else { "" }
                        .to_owned(),
                ),
            ]);
        }
        print_memory(&format!("after whole answers, {connections} connections"), shop.memory());
    }
    let heads = [
        "connections",
        "whole answers",
        "per s",
        "p50 ms",
        "p99 ms",
        "CPU server",
        "database",
        "mock",
        "client",
        "others",
        "batch",
        "goal",
    ];
    print_table(&heads, &rows);
}

/// Measures streams.
fn stream(options: &Options, shop: &Shop, plan: Plan) {
    let mut rows = Vec::new();
    for &connections in &options.connections {
        let load = |address: &str, path: &str| {
            Streamed::generate(address, path, connections, options.rounds.seconds, options.sessions, plan)
        };
        let [alone, tithe] = measure(
            options,
            shop,
            || load(&shop.upstream.address, ALONE),
            || load(&shop.address, "/v1/chat/completions"),
            |load| load.chunks,
        );
        let added = |of: fn(&Streamed) -> f64| {
            let pairs = tithe.measured.iter().zip(&alone.measured);
            format!("{:+.1}", median(pairs.map(|(tithe, alone)| of(tithe) - of(alone))))
        };
        let chunks = plan.chunks as f64;
        for (name, side) in [("mock alone", &alone), ("Tithe", &tithe)] {
            rows.push(vec![
                connections.to_string(),
                name.to_owned(),
                rate(side.median(|it| it.rate)),
                format!("{:.1}", side.median(|it| it.first_p50)),
                format!("{:.1}", side.median(|it| it.first_p99)),
                format!("{:.1}", side.median(|it| it.delay_p50)),
                format!("{:.1}", side.median(|it| it.delay_p99)),
                format!("{:.2}", side.median(|it| it.rest_p50) / chunks),
                side.cpu(|used| used.server),
                side.cpu(|used| used.upstream),
                side.cpu(|used| used.client),
                format!("{:.0} %", 100.0 * median(side.used.iter().map(|used| used.others))),
            ]);
        }
        let mut row = vec![String::new(); rows[0].len()];
        row[..2].clone_from_slice(&[connections.to_string(), "added".to_owned()]);
        row[3] = added(|it| it.first_p50);
        row[5] = added(|it| it.delay_p50);
        let of_rest = tithe.measured.iter().zip(&alone.measured);
        row[7] = format!("{:+.2}", median(of_rest.map(|(t, a)| (t.rest_p50 - a.rest_p50) / chunks)));
        rows.push(row);
    }
    let heads = [
        "connections",
        if plan.micros > 0 { "streams, paced" } else { "streams, back to back" },
        "chunks per s",
        "first byte p50 µs",
        "p99",
        "chunk's way p50 µs",
        "p99",
        "time per chunk µs",
        "CPU server",
        "mock",
        "client",
        "others",
    ];
    print_table(&heads, &rows);
}

/// Opens streams, and measures the memory of the program while all of them are open.
fn open(options: &Options, shop: &Shop) {
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    // Each stream is two files of the program, which keeps some for itself and half of its connections for other requests.
    let most = u32::try_from(files.saturating_sub(512) / 2).unwrap_or(u32::MAX);
    let count = options.streams.min(most).min(options.sessions);
    let before = shop.memory();
    let address = shop.address.parse().unwrap();
    let tokens = crate::load::tokens(Target::Chat, count);
    let streams = shop.runtime.block_on(async {
        let mut opening = JoinSet::new();
        let mut open = Vec::new();
        for (number, token) in tokens.iter().enumerate() {
            let token = token.clone();
            opening.spawn(async move {
                let mut stream = Stream::connect(address).await;
                stream.ask("/v1/chat/completions", &token, OPEN).await;
                stream.read_first().await;
                stream
            });
            // Not all at once: the queue of new connections is short.
            if number % 64 == 63 {
                while let Some(stream) = opening.join_next().await {
                    open.push(stream.unwrap());
                }
            }
        }
        open.extend(opening.join_all().await);
        open
    });
    let memory = shop.memory();
    print_memory("before the streams", before);
    print_memory(&format!("with {count} open streams"), memory);
    let each = |of: fn(&Memory) -> u64| (of(&memory) - of(&before)) as f64 / f64::from(count);
    let kib = |bytes: f64| bytes / 1024.0;
    println!(
        "each stream: {:.1} KiB resident, {:.1} KiB private; 10 000 streams, with everything else: {:.0} MB resident (goal: ≤ 300)",
        kib(each(|memory| memory.resident)),
        kib(each(|memory| memory.private)),
        (before.resident as f64 + 10_000.0 * each(|memory| memory.resident)) / 1e6,
    );
    shop.release();
    shop.runtime.block_on(async {
        let mut ending = JoinSet::new();
        for mut stream in streams {
            ending.spawn(async move { stream.read_rest().await });
        }
        ending.join_all().await;
    });
    print_memory("after the streams", shop.memory());
}
