//! The cost of a debit as the tables grow; [`crate::expired`] has the cost of jobs that nobody paid for.

use crate::figures::{Figures, median, millis, print_table, rate};
use crate::fixture::{self, FUNDS};
use crate::load::{Load, Target};
use crate::process::{self, Machine, Server};
use crate::{Rounds, expired, versus};
use clap::{Args, ValueEnum};
use tithe_test_postgres::Cluster;
use tokio::runtime::Runtime;

/// The options of the measurement.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// What grows (default: one after the other)
    #[arg(value_enum)]
    case: Option<Case>,
    /// Number of expired jobs in the largest database
    #[arg(long, default_value_t = 1_000_000)]
    max_expired: u32,
    /// Number of accounts in the largest database
    #[arg(long, default_value_t = 1_000_000)]
    max_accounts: u32,
    /// Number of transfers in the largest database
    #[arg(long, default_value_t = 10_000_000)]
    max_transfers: u32,
    /// Number of concurrent connections
    #[arg(long, default_value_t = 32)]
    connections: u32,
    #[command(flatten)]
    rounds: Rounds,
}

/// What grows.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
enum Case {
    /// Accounts and transfers, while sessions are debited
    Debits,
    /// Jobs that nobody paid for, while nothing happens
    Expired,
}

/// A database of one size, with a server on it.
struct Place {
    accounts: u32,
    transfers: u32,
    url: String,
    server: Server,
    charges: u64,
    figures: Vec<Figures>,
    /// CPU time of a debit on the server and in the database, in microseconds.
    cpu: Vec<f64>,
}

/// Runs the measurements.
pub(crate) fn run(options: &Options) {
    if options.case != Some(Case::Expired) {
        debits(options);
    }
    if options.case != Some(Case::Debits) {
        expired::run(options.max_expired, options.rounds);
    }
}

/// Runs the measurement of debits, in rounds that visit every size.
fn debits(options: &Options) {
    let runtime = Runtime::new().unwrap();
    let cluster = fixture::cluster();
    let folder = tempfile::tempdir_in(cluster.folder()).unwrap();
    let sizes = [
        (1_000, 10_000),
        (options.max_accounts, 10_000),
        (1_000, options.max_transfers),
        (options.max_accounts, options.max_transfers),
    ];
    let mut places: Vec<Place> = Vec::new();
    for (accounts, transfers) in sizes {
        let name = format!("a{accounts}_t{transfers}");
        eprintln!("creating {accounts} accounts and {transfers} transfers");
        cluster.create_database(&name).unwrap();
        let url = cluster.url(&name);
        runtime.block_on(fill(&url, accounts, transfers));
        let wallet = folder.path().join(&name).display().to_string();
        let server = Server::start(["--database", &url, "--wallet", &wallet, "--log", "warn"]);
        let (charges, figures, cpu) = (0, Vec::new(), Vec::new());
        places.push(Place { accounts, transfers, url, server, charges, figures, cpu });
    }
    // The first round warms up.
    for round in 0..=options.rounds.rounds {
        for place in &mut places {
            place.measure(&cluster, options, round > 0);
        }
    }
    print(&places, options);
    for place in places {
        runtime.block_on(check(&place.url, place.accounts, place.transfers, place.charges));
        place.server.stop();
    }
    println!("checked: as many charges as responses of 200, and the balances are lower by the same amount");
}

impl Place {
    fn measure(&mut self, cluster: &Cluster, options: &Options, counts: bool) {
        Machine::settle(versus::PATIENCE);
        let used = |place: &Self| place.server.cpu_seconds() + process::cluster_cpu_seconds(cluster.folder());
        let before = used(self);
        let seconds = options.rounds.seconds;
        let load =
            Load::generate(&self.server.address, Target::Charge, options.connections, seconds, self.accounts);
        let after = used(self);
        self.charges += load.answers;
        eprintln!("{} accounts, {} transfers: {}/s", self.accounts, self.transfers, rate(load.figures.rate));
        if counts {
            self.figures.push(load.figures);
            self.cpu.push((after - before) * 1e6 / load.answers as f64);
        }
    }
}

/// Inserts the rows directly into the tables. The transfers do not add up to the accounts' balances.
async fn fill(url: &str, accounts: u32, transfers: u32) {
    drop(fixture::open(url).await);
    let id = |n: &str| format!("'00000000-0000-0000-0000-' || lpad(to_hex({n}), 12, '0')");
    let (account, session) = (id("n"), id(&format!("n % {accounts}")));
    let statements = format!(
        "INSERT INTO accounts SELECT 'session:' || {account}, {FUNDS}, 0 FROM generate_series(0, {accounts} - 1) AS n;
         INSERT INTO transfers (key, debit, credit, amount_msats, kind, reference, created_at)
         SELECT 'charge:' || {account}, 'session:' || {session}, 'revenue', 1, 'charge', {session}, n
         FROM generate_series(0, {transfers} - 1) AS n;"
    );
    fixture::execute(url, &statements).await;
    fixture::execute(url, "VACUUM ANALYZE").await;
    fixture::execute(url, "CHECKPOINT").await;
}

async fn check(url: &str, accounts: u32, transfers: u32, charges: u64) {
    let made = fixture::number(url, "SELECT count(*) FROM transfers").await - i64::from(transfers);
    let left = fixture::number(url, "SELECT sum(balance_msats)::bigint FROM accounts").await;
    let given = i64::from(accounts) * i64::try_from(FUNDS).unwrap();
    let charges = i64::try_from(charges).unwrap();
    assert_eq!((made, given - left), (charges, charges), "charges, against responses of 200");
}

fn print(places: &[Place], options: &Options) {
    println!(
        "{} connections; medians of {} rounds of {} s; ms; CPU of server and database in µs per debit",
        options.connections, options.rounds.rounds, options.rounds.seconds
    );
    let smallest = &places[0];
    let row = |place: &Place| {
        let figures = Figures::median(&place.figures);
        let slower =
            median(smallest.figures.iter().zip(&place.figures).map(|(small, this)| small.rate / this.rate));
        let dearer = median(smallest.cpu.iter().zip(&place.cpu).map(|(small, this)| this / small));
        vec![
            place.accounts.to_string(),
            place.transfers.to_string(),
            rate(figures.rate),
            millis(figures.p50),
            millis(figures.p99),
            format!("{:.1}", median(place.cpu.iter().copied())),
            format!("{slower:.2}"),
            format!("{dearer:.2}"),
            "≤ 1.5 ×, reach for 1.2 ×".to_owned(),
        ]
    };
    let heads = ["accounts", "transfers", "per s", "p50", "p99", "CPU", "time ×", "CPU ×", "goal"];
    print_table(&heads, &places.iter().map(row).collect::<Vec<_>>());
}
