//! Debits over HTTP against the floor of the database.

use crate::Rounds;
use crate::figures::Figures;
use crate::fixture;
use crate::floor::{Floor, Operation};
use crate::load::Target;
use crate::versus::{Goal, Plan, measure};
use clap::Args;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tithe_clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tithe_engine::books::Batch;
use tithe_engine::store::Store;
use tithe_money::Msats;
use tithe_test_postgres::Cluster;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// The options of the measurement.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Measure SQLite instead of PostgreSQL
    #[arg(long)]
    sqlite: bool,
    /// Numbers of concurrent connections
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32, 256])]
    connections: Vec<u32>,
    /// Number of sessions
    #[arg(long, default_value_t = 10_000)]
    sessions: u32,
    /// Log filter of the server
    #[arg(long, default_value = "warn")]
    log: String,
    #[command(flatten)]
    rounds: Rounds,
}

impl Options {
    fn plan<'a>(&'a self, url: &'a str, folder: &'a Path, cluster: Option<&'a Cluster>) -> Plan<'a> {
        Plan {
            url,
            folder,
            cluster,
            target: Target::Charge,
            servers: 1,
            connections: &self.connections,
            sessions: self.sessions,
            log: &self.log,
            rounds: self.rounds,
        }
    }
}

const POSTGRES: [Goal; 3] = [
    Goal { connections: 1, text: "p50 ≤ 4.5 ×, reach for 3 ×" },
    Goal { connections: 32, text: "rate ≥ 0.7 ×, reach for 0.85 ×; p99 ≤ 1.5 ×, reach for 1 ×" },
    Goal { connections: 256, text: "rate ≥ 1.0 × best, reach for 1.4 ×" },
];

const SQLITE: [Goal; 1] = [Goal { connections: 32, text: "rate ≥ 2 ×, reach for 4 ×" }];

/// Runs the measurement.
pub(crate) fn run(options: &Options) {
    let runtime = Runtime::new().unwrap();
    if options.sqlite { sqlite(options, &runtime) } else { postgres(options, &runtime) }
}

fn postgres(options: &Options, runtime: &Runtime) {
    let cluster = fixture::cluster();
    // Inside the cluster's folder, so that it is removed with the cluster however this process ends.
    let folder = tempfile::tempdir_in(cluster.folder()).unwrap();
    let url = cluster.url("tithe");
    cluster.create_database("tithe").unwrap();
    let floor = runtime.block_on(async {
        fixture::fund(fixture::open(&url).await.as_ref(), options.sessions).await;
        let floor = Floor::make(&cluster, folder.path(), options.sessions, Operation::Debit).await;
        fixture::execute(&url, "VACUUM ANALYZE").await;
        fixture::execute(&url, "CHECKPOINT").await;
        floor
    });
    let batches =
        || runtime.block_on(fixture::number(&url, "SELECT coalesce(sum(batch), 0)::bigint FROM committers"));
    let each = |connections| (floor.round(connections, options.rounds.seconds), 0);
    let plan = options.plan(&url, folder.path(), Some(&cluster));
    let charges = measure(&plan, each, batches, &POSTGRES);
    runtime.block_on(async {
        floor.check().await;
        fixture::check(fixture::open(&url).await.as_ref(), options.sessions, charges).await;
    });
    println!("checked: {charges} responses of 200 and as many charges; the books balance");
}

fn sqlite(options: &Options, runtime: &Runtime) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("bench.db").display());
    let store = runtime.block_on(async {
        let store = fixture::open(&url).await;
        fixture::fund(store.as_ref(), options.sessions).await;
        store
    });
    let each = |connections| runtime.block_on(alone(&store, connections, options));
    let charges = measure(&options.plan(&url, folder.path(), None), each, || 0, &SQLITE);
    runtime.block_on(fixture::check(store.as_ref(), options.sessions, charges));
    println!("checked: {charges} charges acknowledged and as many in the database; the books balance");
}

/// The floor of SQLite: concurrent callers that commit one transaction per debit.
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
                let command = fixture::debit(session, Msats::new(1).unwrap(), &SystemClock, &SystemEntropy);
                let asked = Instant::now();
                let batch = Batch::new(vec![command.into()], SystemClock.now());
                store.batch_commit(&batch).await.unwrap().outcomes.remove(0).unwrap();
                micros.push(asked.elapsed().as_micros() as u32);
            }
            micros
        });
    }
    let micros: Vec<u32> = loops.join_all().await.into_iter().flatten().collect();
    (Figures::of(micros.len(), began.elapsed().as_secs_f64(), micros.clone()), micros.len() as u64)
}
