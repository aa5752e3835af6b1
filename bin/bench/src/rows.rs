//! What a job, a request of a session and a plain request leave on the disk, table by table.

use crate::figures::print_table;
use crate::fixture;
use crate::process::Server;
use crate::rows_client::Client;
use crate::rows_disk::{self, Disk};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tithe_clock::{Clock, SystemClock};
use tithe_test_postgres::{Cluster, ClusterOptions};
use tithe_trust::IdentityTokens;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// The options of the measurement.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// How many of each kind are sold on each database
    #[arg(long, default_value_t = 400)]
    count: u32,
    /// How many are sold at once
    #[arg(long, default_value_t = 8)]
    at_once: u32,
    /// Length of each request, in words. The answer, from the simulated backend, has about twice as many
    #[arg(long, default_value_t = 80)]
    words: u32,
    /// The databases
    #[arg(long, value_delimiter = ',', default_values = ["sqlite", "postgres"])]
    databases: Vec<Engine>,
    /// Sell as many before, and vacuum, so that what is measured uses the space that they have left
    #[arg(long)]
    second_half: bool,
    /// Print every table and index, not only the largest
    #[arg(long)]
    all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    Sqlite,
    Postgres,
}

/// What is sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sale {
    /// A job: two invoices, an evaluation, the work, a refund that is due.
    Job,
    /// A request of a session.
    Session,
    /// A plain request that the pool pays for.
    Ask,
}

impl Sale {
    const ALL: [Self; 3] = [Self::Job, Self::Session, Self::Ask];

    const fn name(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Session => "session request",
            Self::Ask => "plain request",
        }
    }
}

/// How long one sale may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// Runs the measurement.
pub(crate) fn run(options: &Options) {
    let runtime = Runtime::new().unwrap();
    for engine in &options.databases {
        match engine {
            Engine::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let file = folder.path().join("rows.db");
                measure(options, &runtime, &Disk::Sqlite(file), folder.path());
            }
            Engine::Postgres => {
                // Images of whole pages depend on the time between checkpoints, not on the rows. Dead rows stay, to be counted.
                let settings =
                    [("full_page_writes", "off"), ("autovacuum", "off"), ("checkpoint_timeout", "30min")];
                let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
                let cluster =
                    Cluster::start(ClusterOptions { durable: true, settings, ..ClusterOptions::default() });
                let cluster = cluster.unwrap();
                cluster.create_database("rows").unwrap();
                let folder = tempfile::tempdir_in(cluster.folder()).unwrap();
                measure(options, &runtime, &Disk::Postgres(cluster.url("rows")), folder.path());
            }
        }
    }
}

fn measure(options: &Options, runtime: &Runtime, disk: &Disk, folder: &std::path::Path) {
    let url = disk.url();
    runtime.block_on(async {
        let store = fixture::open(&url).await;
        fixture::befriend(store.as_ref(), options.count * 2).await;
        fixture::open_sessions(store.as_ref(), options.count * 2, false).await;
    });
    println!("\n{}", disk.version(runtime));
    let wallet = folder.join("wallet").display().to_string();
    let mut totals = Vec::new();
    for sale in Sale::ALL {
        let run = |from| {
            let server = Server::start(["--database", &url, "--wallet", &wallet, "--log", "error"]);
            runtime.block_on(sell(options, sale, from, &server.address));
            server.stop();
        };
        if options.second_half {
            run(options.count);
            disk.vacuum(runtime);
        }
        let before = disk.look(runtime);
        run(0);
        let after = disk.look(runtime);
        totals.push(print(options, sale, &after.since(&before)));
    }
    println!("\nper sale, in bytes; requests of {} words", options.words);
    print_table(&["", "tables", "indexes", "together", "WAL", "updates", "HOT", "dead rows"], &totals);
    runtime.block_on(async { fixture::check_sound(fixture::open(&url).await.as_ref()).await });
}

/// Prints the tables; returns the line of their sum.
fn print(options: &Options, sale: Sale, grown: &rows_disk::Grown) -> Vec<String> {
    let each = |bytes: i64| format!("{:.0}", bytes as f64 / f64::from(options.count));
    let count = |rows: i64| format!("{:.1}", rows as f64 / f64::from(options.count));
    let percent = |hot: i64, all: i64| {
        if all == 0 { String::new() } else { format!("{:.0} %", hot as f64 * 100.0 / all as f64) }
    };
    println!("\nfor each {}, in bytes:", sale.name());
    let shown: BTreeMap<_, _> =
        grown.tables.iter().filter(|(_, table)| options.all || table.table + table.indexes > 0).collect();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (name, table) in shown {
        let indexes: Vec<String> = table
            .each_index
            .iter()
            .filter(|(_, bytes)| **bytes > 0)
            .map(|(index, bytes)| format!("{index} {}", each(*bytes)))
            .collect();
        rows.push(vec![
            name.clone(),
            each(table.table),
            each(table.indexes),
            count(table.inserts),
            count(table.updates),
            percent(table.hot, table.updates),
            count(table.dead),
            indexes.join(", "),
        ]);
    }
    print_table(&["table", "rows", "indexes", "inserts", "updates", "HOT", "dead", "each index"], &rows);
    let sum = |of: fn(&rows_disk::TableSize) -> i64| grown.tables.values().map(of).sum::<i64>();
    let (table, indexes) = (sum(|table| table.table), sum(|table| table.indexes));
    let (updates, hot) = (sum(|table| table.updates), sum(|table| table.hot));
    vec![
        sale.name().to_owned(),
        each(table),
        each(indexes),
        each(table + indexes),
        grown.wal.map_or_else(String::new, each),
        count(updates),
        percent(hot, updates),
        count(sum(|table| table.dead)),
    ]
}

/// Sells to the customers with these numbers: `from`, and those after it.
async fn sell(options: &Options, sale: Sale, from: u32, address: &str) {
    let mut workers = JoinSet::new();
    for worker in 0..options.at_once {
        let (options, address) = (options.clone(), address.to_owned());
        workers.spawn(async move {
            let mut client = Client::connect(&address).await;
            for number in (worker..options.count).step_by(options.at_once as usize) {
                let number = from + number;
                sell_one(&mut client, sale, number, &text(number, options.words)).await;
            }
        });
    }
    workers.join_all().await;
}

async fn sell_one(client: &mut Client, sale: Sale, number: u32, request: &str) {
    let key = format!("{:08x}-0000-4000-8000-{number:012x}", sale as u32);
    let body = json!({ "request": request, "model": "sim-small", "maxOutputTokens": 400 });
    match sale {
        Sale::Job => {
            let job = client.post("/api/jobs", None, Some(&key), &body, 201).await;
            let path = format!("/api/jobs/{}", job["jobId"].as_str().unwrap());
            pay(client, &job["evalInvoice"]).await;
            let job = until(client, &path, "awaiting_work_payment").await;
            pay(client, &job["workInvoice"]).await;
            until(client, &path, "complete").await;
        }
        Sale::Session => {
            let token = fixture::macaroon(crate::server::SECRET.as_bytes(), number);
            let path = format!("/api/sessions/{}/request", fixture::session_id(number));
            client
                .post(&path, Some(("Authorization", &format!("Bearer {token}"))), Some(&key), &body, 200)
                .await;
        }
        Sale::Ask => {
            let identities = IdentityTokens::new(
                &crate::server::secrets(),
                tithe_trust::Audience::literal("tithe"),
                Duration::from_hours(24),
            );
            let token = identities.issue(fixture::identity(number), SystemClock.now()).text;
            client.post("/api/ask", Some(("X-Nostr-Token", &token)), Some(&key), &body, 200).await;
        }
    }
}

async fn pay(client: &mut Client, invoice: &Value) {
    let path = format!("/dev/stub/pay/{}", invoice["paymentHash"].as_str().unwrap());
    client.post(&path, None, None, &json!({}), 200).await;
}

/// Waits for a state of a job, as a customer does.
async fn until(client: &mut Client, path: &str, state: &str) -> Value {
    let began = Instant::now();
    loop {
        let job = client.get(path, "wait=10").await;
        if job["state"] == state {
            return job;
        }
        assert!(began.elapsed() < PATIENCE, "{path} is not {state}: {job}");
    }
}

/// A text that is no other's, of common words: it compresses as prose does, and not as repetition.
fn text(number: u32, words: u32) -> String {
    const WORDS: &str = "the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one \
        you were all her she there would their we him been has when who will no more if out so up said what its about than into them can \
        only other time new some could these two may first then do any like my now over such our man me even most made after also did many \
        before must through years where much your way well down should because long each just state those people too mister how little \
        good world make very year still see own work great men day get here old life both between being under three never know same last";
    let list: Vec<&str> = WORDS.split_whitespace().collect();
    let mut state = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        list[(state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % list.len()]
    };
    (0..words).map(|_| draw()).collect::<Vec<_>>().join(" ")
}
