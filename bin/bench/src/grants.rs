//! Grants over HTTP, all from one pool, against the floor of the database.

use crate::Rounds;
use crate::fixture::{self, Payer};
use crate::floor::{Floor, Operation};
use crate::load::Target;
use crate::versus::{Goal, Plan, measure};
use clap::Args;
use tokio::runtime::Runtime;

/// The options of the measurement.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Numbers of concurrent connections, divided among the servers
    #[arg(long, value_delimiter = ',', default_values_t = [32, 256])]
    connections: Vec<u32>,
    /// A session pays the other half of the work, with a tithe on its half
    #[arg(long)]
    halves: bool,
    /// Number of servers that share the pool
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4))]
    servers: u32,
    /// Number of sessions, each with an identity
    #[arg(long, default_value_t = 10_000)]
    sessions: u32,
    /// Log filter of the servers
    #[arg(long, default_value = "warn")]
    log: String,
    #[command(flatten)]
    rounds: Rounds,
}

const ONE_SERVER: [Goal; 2] = [
    Goal { connections: 32, text: "rate ≥ 5 ×, reach for 7 ×; p99 ≤ 0.1 ×, reach for 0.05 ×" },
    Goal { connections: 256, text: "rate ≥ 8 ×, reach for 12 ×" },
];

const TWO_SERVERS: [Goal; 1] = [Goal { connections: 32, text: "rate ≥ 4 ×, reach for 6 ×" }];

/// Runs the measurement.
pub(crate) fn run(options: &Options) {
    let runtime = Runtime::new().unwrap();
    let cluster = fixture::cluster();
    // Inside the cluster's folder, so that it is removed with the cluster however this process ends.
    let folder = tempfile::tempdir_in(cluster.folder()).unwrap();
    let url = cluster.url("tithe");
    cluster.create_database("tithe").unwrap();
    let floor = runtime.block_on(async {
        let store = fixture::open(&url).await;
        fixture::fund(store.as_ref(), options.sessions).await;
        fixture::befriend(store.as_ref(), options.sessions).await;
        let floor = Floor::make(&cluster, folder.path(), options.sessions, Operation::Grant).await;
        fixture::execute(&url, "VACUUM ANALYZE").await;
        fixture::execute(&url, "CHECKPOINT").await;
        floor
    });
    let batches =
        || runtime.block_on(fixture::number(&url, "SELECT coalesce(sum(batch), 0)::bigint FROM committers"));
    let each = |connections| (floor.round(connections, options.rounds.seconds), 0);
    let plan = Plan {
        url: &url,
        folder: folder.path(),
        cluster: Some(&cluster),
        target: if options.halves { Target::Halves } else { Target::Free },
        servers: options.servers,
        connections: &options.connections,
        sessions: options.sessions,
        log: &options.log,
        rounds: options.rounds,
    };
    let goals = if options.servers == 1 { &ONE_SERVER[..] } else { &TWO_SERVERS[..] };
    let grants = measure(&plan, each, batches, goals);
    runtime.block_on(async {
        floor.check().await;
        let payer = if options.halves { Payer::Both } else { Payer::Pool };
        fixture::check_grants(fixture::open(&url).await.as_ref(), options.sessions, payer, grants).await;
    });
    println!("checked: {grants} responses of 200 and as many grants; pool, budgets, log and ledger agree");
}
