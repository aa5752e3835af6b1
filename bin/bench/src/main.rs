//! Measures Tithe against the floor of its database: real HTTP, real databases, durable settings.
//!
//! `just bench` measures debits over HTTP on PostgreSQL; `just bench --help` lists the rest.
//!
//! Absolute figures drift by a factor of two on shared machines. What counts is therefore a ratio: each round measures the
//! floor and Tithe one right after the other on the same cluster, and of the rounds' ratios the median is printed. Figures
//! beside it are medians over rounds, too, each by itself. Even ratios lie while other programs take the cores: pgbench's
//! many processes get more of what is left than Tithe's few. A round therefore waits until others leave the machine alone,
//! and does not count if they came back meanwhile (unless they never stop; the table says how much they used).
//!
//! - `debit` measures debits over HTTP. The floor is what PostgreSQL does with the least that a debit can be: one
//!   statement that updates a balance if it suffices and writes one audit row, on 10 000 sessions, run by the cluster's own
//!   `pgbench`. Tithe does the same amount of business with its full set of rows: a request over HTTP with a token that is
//!   checked, through the router and middleware of the real server, `Command::Post` through the committer, and the answer
//!   after the commit. Server and load generator are processes of their own, as PostgreSQL and pgbench are; with the
//!   databases of both they share one cluster (`fsync` and `synchronous_commit` on). Above 32 connections the floor is
//!   measured at 32 as well: its own best, and what the goals mean.
//! - `debit --sqlite` does that on SQLite (`synchronous=FULL`). The floor is one transaction for each debit, through the
//!   store directly.
//! - `grants` measures work that one pool pays for, for many identities. The floor adds to a debit's the identity's day, within
//!   its budget, and one pool that all share: still one statement. Tithe checks the identity's token, decides by score and
//!   tier, and writes the full set of rows of a grant: identity and day, pool, tally, ledger, audit log. With `--halves` a
//!   session pays the other half: its account, the charge and the tithe besides, eight rows where the floor has four. With
//!   `--servers 2` two servers work on the one pool.
//! - `growth` measures what a debit costs as the tables grow: databases of each size side by side, visited in turn.
//! - `trivial` measures a JSON answer that needs nothing, and an invalid credential that is refused.
//!
//! Every measurement ends with a check that nothing was lost: as many charges as answers of 200, balances that add up, and
//! no other answers. A benchmark that finds otherwise fails.
//!
//! CPU time per operation is counted from `/proc`: the server's, PostgreSQL's (the postmaster with all its children) and
//! the load generator's. On a machine with few cores that, not the disk, is where the ratios come from.
//!
//! Everything is made in temporary folders and removed afterwards.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a benchmark fails"
)]
#![expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "rates and latencies are for people"
)]

mod debit;
mod figures;
mod floor;
mod grants;
mod ground;
mod growth;
mod load;
mod process;
mod server;
mod trivial;
mod versus;

use clap::{Args, Parser, Subcommand};

/// Measures Tithe against the floor of its database.
#[derive(Parser)]
#[command(name = "tithe-bench")]
struct Arguments {
    #[command(subcommand)]
    measure: Option<Measure>,
    #[command(flatten)]
    debit: debit::Options,
}

#[derive(Subcommand)]
enum Measure {
    /// Debits over HTTP against the floor of the database (the default)
    Debit(debit::Options),
    /// Grants of one pool over HTTP, by one server or several, against the floor of the database
    Grants(grants::Options),
    /// What a debit costs as the tables grow to 10⁶ accounts and 10⁷ transfers (takes some minutes and 8 GB)
    Growth(growth::Options),
    /// A trivial answer, and an invalid credential refused
    Trivial(trivial::Options),
    /// The server under measurement
    #[command(hide = true)]
    ServeInternal(server::Options),
    /// The load generator
    #[command(hide = true)]
    LoadInternal(load::Options),
}

/// How long and how often.
#[derive(Args, Clone, Copy, Debug)]
struct Rounds {
    /// How many rounds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How many seconds each side of a round takes
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

fn main() {
    let arguments = Arguments::parse();
    match arguments.measure.unwrap_or(Measure::Debit(arguments.debit)) {
        Measure::Debit(options) => debit::run(&options),
        Measure::Grants(options) => grants::run(&options),
        Measure::Growth(options) => growth::run(&options),
        Measure::Trivial(options) => trivial::run(&options),
        Measure::ServeInternal(options) => server::run(&options),
        Measure::LoadInternal(options) => load::run(&options),
    }
}
