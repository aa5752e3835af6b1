//! Measures Tithe against the floor of its database: real HTTP, real databases, durable settings.
//!
//! `just bench` measures debits over HTTP on PostgreSQL; `just bench --help` lists the rest.
//!
//! Absolute figures vary by a factor of two on shared machines. The result is therefore a ratio: each round measures the
//! floor and then Tithe on the same cluster, and the median of the rounds' ratios is printed. The other figures are medians
//! over the rounds, too, each computed separately. Even ratios are distorted while other programs use the cores, because
//! pgbench's many processes get a larger share of the remaining time than Tithe's few. A round therefore waits until the
//! machine is idle, and is discarded if other programs disturbed it (up to a limit; the table shows how much they used).
//!
//! - `debit` measures debits over HTTP. The floor is the minimal debit in PostgreSQL: one statement that updates a balance
//!   if it suffices and writes one audit row, on 10 000 sessions, run by the cluster's own `pgbench`. Tithe performs the same
//!   debits with its full set of rows: an HTTP request whose token is verified, the router and middleware of the real server,
//!   a `Post` command through the committer, and the response after the commit. Server and load generator are separate
//!   processes, like PostgreSQL and pgbench. The databases of both are in one cluster (`fsync` and `synchronous_commit` on).
//!   Above 32 connections the floor is also measured at 32, where it is fastest; the goals refer to that figure.
//! - `debit --sqlite` does the same on SQLite (`synchronous=FULL`). The floor is one transaction per debit, made directly
//!   through the store.
//! - `grants` measures work that one pool pays for, for many identities. The floor's statement also updates the identity's
//!   budget and one shared pool. Tithe verifies the identity's token, decides by score and tier, and writes the full set of
//!   rows of a grant: identity and budget window, pool, pool counters, ledger, audit log. With `--halves` a session pays the
//!   other half, which adds its account, the charge and the tithe: eight rows where the floor has four. With `--servers 2`
//!   two servers share the pool.
//! - `session` measures whole metered requests: a macaroon is verified, the most that the request can cost is held, a simulated
//!   backend without latency answers, and what it cost is settled and committed before the response. Two commits each, where the
//!   floor has one. With `--grants` the pool pays; otherwise the session, with the tithe.
//! - `growth` measures what a debit costs as the tables grow, on databases of several sizes that are measured in turn; and what
//!   an idle server costs, and how fast it starts, as jobs that nobody paid for pile up.
//! - `api` measures `POST /v1/chat/completions` of the program `tithe` itself, against a mock upstream in the same run: whole
//!   answers (hold, completion, settlement, committed), streams, and the memory of many open streams. The mock alone is the floor.
//! - `paywall` measures requests that are paid for one by one, beside requests of sessions in the same rounds: offers (a 402 with two
//!   invoices: one for the request, one for the deposit of a session), redemptions of proofs (hold, work, settlement, close), the same proofs
//!   again, and the same requests paid from a session of the scheme `Payment`. The wallet alone is measured too: each offer needs two invoices.
//! - `rows` sells jobs, requests of sessions and plain requests over HTTP, and measures what each leaves in every table and index, how
//!   its rows were updated, and how much it added to the WAL. The figures do not depend on the machine's speed.
//! - `trivial` measures a trivial JSON response, and the refusal of an invalid credential.
//!
//! Every measurement ends with a check that nothing was lost: there are as many charges as 200 responses, the balances add
//! up, and there were no other responses. Otherwise the benchmark fails.
//!
//! CPU time per operation is read from `/proc`: the server's, PostgreSQL's (the postmaster with all its children) and the
//! load generator's. On a machine with few cores, CPU time and not the disk determines the ratios.
//!
//! All files are created in temporary folders and removed afterwards.

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

mod api;
mod debit;
mod expired;
mod figures;
mod fixture;
mod floor;
mod grants;
mod growth;
mod load;
mod paywall;
mod process;
mod prompt;
mod rows;
mod rows_client;
mod rows_disk;
mod server;
mod session;
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
    /// Chat completions of the AI API, whole and streamed, against a mock upstream that is also measured alone; and open streams
    Api(api::Options),
    /// Debits over HTTP against the floor of the database (the default)
    Debit(debit::Options),
    /// Grants from one pool over HTTP, by one or several servers, against the floor of the database
    Grants(grants::Options),
    /// The cost of a debit as the tables grow to 10⁶ accounts and 10⁷ transfers, and of an idle server with 10⁶ expired jobs (takes
    /// some minutes and 8 GB)
    Growth(growth::Options),
    /// Requests that are paid for one by one: offers, redemptions, repeated redemptions, and from deposits; beside requests of sessions
    Paywall(paywall::Options),
    /// What a job, a request of a session and a plain request take on the disk and in the WAL, table by table
    Rows(rows::Options),
    /// Whole metered requests of sessions over HTTP: hold, work, settlement; against the floor of the database
    Session(session::Options),
    /// A trivial response, and the refusal of an invalid credential
    Trivial(trivial::Options),
    /// The server under measurement
    #[command(hide = true)]
    ServeInternal(server::Options),
    /// The load generator
    #[command(hide = true)]
    LoadInternal(load::Options),
    /// The customers of the paywall
    #[command(hide = true)]
    PaywallLoadInternal(paywall::CustomersOptions),
    /// The load generator of streams
    #[command(hide = true)]
    StreamLoadInternal(api::StreamLoad),
    /// The mock upstream
    #[command(hide = true)]
    UpstreamInternal,
}

/// The number and length of the rounds.
#[derive(Args, Clone, Copy, Debug)]
struct Rounds {
    /// Number of rounds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Duration of each side of a round, in seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

fn main() {
    let arguments = Arguments::parse();
    match arguments.measure.unwrap_or(Measure::Debit(arguments.debit)) {
        Measure::Api(options) => api::run(&options),
        Measure::Debit(options) => debit::run(&options),
        Measure::Grants(options) => grants::run(&options),
        Measure::Growth(options) => growth::run(&options),
        Measure::Paywall(options) => paywall::run(&options),
        Measure::Rows(options) => rows::run(&options),
        Measure::Session(options) => session::run(&options),
        Measure::Trivial(options) => trivial::run(&options),
        Measure::ServeInternal(options) => server::run(&options),
        Measure::LoadInternal(options) => load::run(&options),
        Measure::PaywallLoadInternal(options) => paywall::generate(&options),
        Measure::StreamLoadInternal(options) => api::generate_streams(&options),
        Measure::UpstreamInternal => api::serve_upstream(),
    }
}
