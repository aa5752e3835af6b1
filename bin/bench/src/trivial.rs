//! A trivial JSON response, and the refusal of an invalid credential.

use crate::Rounds;
use crate::figures::{Figures, median, millis, print_table, rate};
use crate::load::{Load, Target};
use crate::process::Server;
use clap::Args;

/// The options of the measurement.
#[derive(Args)]
pub(crate) struct Options {
    /// Number of concurrent connections
    #[arg(long, default_value_t = 32)]
    connections: u32,
    #[command(flatten)]
    rounds: Rounds,
}

/// Runs the measurement. Neither request needs the database, so any database will do.
pub(crate) fn run(options: &Options) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("bench.db").display());
    let wallet = folder.path().join("wallet").display().to_string();
    let server = Server::start(["--database", &url, "--wallet", &wallet]);
    let Rounds { rounds, seconds } = options.rounds;
    let (mut trivial, mut refused) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        for (target, figures) in [(Target::Trivial, &mut trivial), (Target::Refused, &mut refused)] {
            let load = Load::generate(&server.address, target, options.connections, seconds, 1_000);
            if round > 0 {
                figures.push(load.figures);
            }
        }
    }
    server.stop();
    let ratio = median(refused.iter().zip(&trivial).map(|(refused, trivial)| refused.rate / trivial.rate));
    let row = |name: &str, figures: &[Figures], ratio: String, goal: &str| {
        let figures = Figures::median(figures);
        vec![
            name.to_owned(),
            rate(figures.rate),
            millis(figures.p50),
            millis(figures.p99),
            ratio,
            goal.to_owned(),
        ]
    };
    println!("{} connections; medians of {rounds} interleaved rounds of {seconds} s", options.connections);
    print_table(
        &["response", "per s", "p50 ms", "p99 ms", "×", "goal"],
        &[
            row("trivial", &trivial, String::new(), ""),
            row("invalid credential", &refused, format!("{ratio:.2}"), "≥ 0.5 ×, reach for 0.8 ×"),
        ],
    );
}
