//! Requests that are paid for one by one, beside requests of sessions, in the same run: offers, redemptions of proofs, redemptions that are
//! repeated, and the same requests paid from a session of the scheme `Payment`. An offer is a 402 with two invoices: one for the request, and
//! one for the deposit of a session; clients that accept only one of them (`Accept-Payment`) cost one. What the wallet alone needs for an
//! invoice is measured too: no offer is faster than two of them.

mod customers;
mod wallet;

pub(crate) use customers::{CustomersOptions, run as generate};

use crate::figures::{Figures, median, millis, print_table, rate};
use crate::fixture;
use crate::load::{Load, Target};
use crate::process::{self, Machine, Server};
use crate::versus::PATIENCE;
use clap::Args;
use customers::Round;
use tokio::runtime::Runtime;

/// The options of the measurement.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Numbers of concurrent connections
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32])]
    connections: Vec<u32>,
    /// Number of rounds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Number of requests that are offered, paid for and redeemed by each connection in a round
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    requests: u32,
    /// Duration of the requests of sessions in each round, in seconds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Number of sessions
    #[arg(long, default_value_t = 10_000)]
    sessions: u32,
    /// Log filter of the server
    #[arg(long, default_value = "warn")]
    log: String,
}

/// What is measured in each round, in the order of the table.
const SIDES: [&str; 6] = [
    "session request",
    "wallet alone, one invoice",
    "offer, two invoices",
    "redemption",
    "repeated redemption",
    "bearer request",
];

/// Runs the measurement.
pub(crate) fn run(options: &Options) {
    let runtime = Runtime::new().unwrap();
    let cluster = fixture::cluster();
    // Inside the cluster's folder, so that it is removed with the cluster however this process ends.
    let folder = tempfile::tempdir_in(cluster.folder()).unwrap();
    let url = cluster.url("tithe");
    cluster.create_database("tithe").unwrap();
    runtime.block_on(async {
        let store = fixture::open(&url).await;
        fixture::open_sessions(store.as_ref(), options.sessions, false).await;
        fixture::execute(&url, "VACUUM ANALYZE").await;
        fixture::execute(&url, "CHECKPOINT").await;
    });
    let path = |name: &str| folder.path().join(name).display().to_string();
    let server = Server::start(["--database", &url, "--wallet", &path("wallet"), "--log", &options.log]);
    let Options { rounds, requests, seconds, sessions, .. } = *options;
    println!("medians of {rounds} rounds, of {requests} paid requests for each connection; ms");
    let (mut table, mut redeemed, mut opened, mut lacking) = (Vec::new(), 0, 0, 0);
    for &connections in &options.connections {
        let mut measured: Vec<[Figures; SIDES.len()]> = Vec::new();
        // The first round warms up.
        for round in 0..=rounds {
            Machine::settle(PATIENCE);
            let alone = runtime.block_on(wallet::invoices(&path("alone"), connections, requests));
            let session =
                Load::generate(&server.address, Target::Session, connections, seconds, sessions).figures;
            let numbers = [("--connections", connections), ("--requests", requests)];
            let arguments = numbers.map(|(name, number)| [name.to_owned(), number.to_string()]).concat();
            let address = ["--address".to_owned(), server.address.clone()];
            let Round { offers, redemptions, repeated, bearers, without_deposit } =
                process::call("paywall-load-internal", address.into_iter().chain(arguments));
            redeemed += i64::from(connections * requests);
            opened += i64::from(connections);
            lacking += without_deposit;
            let figures = [session, alone, offers, redemptions, repeated, bearers];
            eprintln!("{connections} connections, round {round}: {}", summary(&figures));
            if round > 0 {
                measured.push(figures);
            }
        }
        table.extend(rows(connections, &measured));
    }
    server.stop();
    print_table(&["connections", "side", "per s", "p50", "p99", "× session requests"], &table);
    println!(
        "{lacking} of {redeemed} offers came without a deposit, because the wallet took too long: they cost one invoice"
    );
    runtime.block_on(async {
        let used = "SELECT count(*) FROM sessions s JOIN session_requests r ON r.session_id = s.id \
                    WHERE s.kind = 'one_request' AND s.state = 'closed' AND r.state = 'complete'";
        let used = fixture::number(&url, used).await;
        assert_eq!(used, redeemed, "requests that were paid for by themselves, against proofs");
        let borne = "SELECT count(*) FROM sessions s JOIN session_requests r ON r.session_id = s.id \
                     WHERE s.kind = 'payment' AND r.state = 'complete'";
        let borne = fixture::number(&url, borne).await;
        assert_eq!(
            borne,
            redeemed + opened,
            "requests of sessions of the scheme Payment, against credentials"
        );
        fixture::check_sound(fixture::open(&url).await.as_ref()).await;
    });
    println!(
        "checked: {redeemed} proofs have each bought one request, sent twice; {opened} deposits have paid for as many; the books balance"
    );
}

fn summary(figures: &[Figures]) -> String {
    let each = SIDES.iter().zip(figures).map(|(side, figures)| format!("{side} {}/s", rate(figures.rate)));
    each.collect::<Vec<_>>().join(", ")
}

fn rows(connections: u32, rounds: &[[Figures; SIDES.len()]]) -> Vec<Vec<String>> {
    let side = |(place, name): (usize, &&str)| {
        let figures: Vec<Figures> = rounds.iter().map(|round| round[place]).collect();
        let ratio = median(rounds.iter().map(|round| round[place].rate / round[0].rate));
        let figures = Figures::median(&figures);
        vec![
            connections.to_string(),
            (*name).to_owned(),
            rate(figures.rate),
            millis(figures.p50),
            millis(figures.p99),
            format!("{ratio:.2}"),
        ]
    };
    SIDES.iter().enumerate().map(side).collect()
}
