//! Whole metered requests of sessions over HTTP against the floor of the database.

use crate::Rounds;
use crate::fixture;
use crate::floor::{Floor, Operation};
use crate::load::Target;
use crate::versus::{Goal, Plan, measure};
use clap::Args;
use tokio::runtime::Runtime;

/// The options of the measurement.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Numbers of concurrent connections
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32, 256])]
    connections: Vec<u32>,
    /// Every session has an identity, and the pool pays for its requests; otherwise the session pays, with the tithe
    #[arg(long)]
    grants: bool,
    /// Number of sessions
    #[arg(long, default_value_t = 10_000)]
    sessions: u32,
    /// Log filter of the server
    #[arg(long, default_value = "warn")]
    log: String,
    #[command(flatten)]
    rounds: Rounds,
}

const GOALS: [Goal; 2] = [
    Goal { connections: 32, text: "rate ≥ 0.4 ×, reach for 0.6 ×" },
    Goal { connections: 256, text: "rate ≥ 0.7 × best, reach for 1.2 ×" },
];

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
        if options.grants {
            fixture::befriend(store.as_ref(), options.sessions).await;
        }
        fixture::open_sessions(store.as_ref(), options.sessions, options.grants).await;
        let floor = Floor::make(&cluster, folder.path(), options.sessions, Operation::Debit).await;
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
        target: Target::Session,
        servers: 1,
        connections: &options.connections,
        sessions: options.sessions,
        log: &options.log,
        rounds: options.rounds,
    };
    let requests = measure(&plan, each, batches, &GOALS);
    runtime.block_on(async {
        floor.check().await;
        let payer = if options.grants { "absorbed_msats" } else { "charged_msats" };
        let paid = format!(
            "SELECT count(*) FROM session_requests WHERE state = 'complete' AND {payer} = cost_msats"
        );
        let paid = fixture::number(&url, &paid).await;
        assert_eq!(
            paid,
            i64::try_from(requests).unwrap(),
            "requests that were paid for, against responses of 200"
        );
        fixture::check_sound(fixture::open(&url).await.as_ref()).await;
    });
    println!("checked: {requests} responses of 200 and as many paid requests; the books balance");
}
