//! `tithe selftest`: checks any Tithe server against the HTTP contract, as a customer who knows nothing else.

mod ai;
mod answer;
mod api;
mod bill;
mod check;
mod checks;
mod excerpt;
mod install;
mod known;
mod nwc;
mod observed;
mod outcome;
mod payer;
mod purse;
mod report;
mod run;
mod runner;
mod selection;
mod wallet_payer;

use crate::client::Client;
use crate::url::without_secrets;
use api::Api;
use clap::{Args, ValueEnum};
use payer::{DevPayer, Payer};
use run::Run;
use selection::Selection;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tithe_money::Sats;

#[derive(Args)]
pub(crate) struct SelftestArgs {
    /// The server's address, such as `http://127.0.0.1:8402`
    #[arg(required_unless_present = "list")]
    url: Option<String>,
    /// How to pay: `dev` with play money, on a server that runs with `TITHE_DEV=1`; `nwc` with a wallet that speaks Nostr Wallet
    /// Connect. The default is `nwc` if there is a connection string, and `dev` otherwise
    #[arg(long, value_name = "HOW")]
    pay: Option<Pay>,
    /// The connection string of the wallet, `nostr+walletconnect://…`. Real money is spent, up to the budget. The wallet must limit its
    /// routing fees to 1 % or 10 sats, whichever is more, as Alby Hub does
    #[arg(long, value_name = "STRING", env = "TITHE_SELFTEST_NWC", hide_env_values = true)]
    nwc: Option<String>,
    /// The most that all checks together may spend, routing fees included, in sats. A check that could exceed it is skipped. A node
    /// that costs less is bought (`--skip bootstrap` buys none)
    #[arg(long, value_name = "SATS", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(0..=Sats::MAX.get()))]
    budget_sats: u64,
    /// Print one JSON document instead of lines
    #[arg(long)]
    json: bool,
    /// Run only these checks, and those that they need: names of checks or of areas
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    only: Vec<String>,
    /// Skip these checks: names of checks or of areas
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    skip: Vec<String>,
    /// List the checks and what they prove
    #[arg(long)]
    list: bool,
    /// How long one check may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
}

/// How the server's invoices are paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Pay {
    Dev,
    Nwc,
}

/// How long the first answer may take.
const REACH_PATIENCE: Duration = Duration::from_secs(10);

/// The exit code if no check was run.
const UNUSABLE: u8 = 2;

/// Runs the checks. The exit code is 0 if none failed, 1 if one did, and 2 for wrong usage and for a server that is not reachable.
pub(crate) fn run(args: &SelftestArgs) -> ExitCode {
    match tested(args) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("tithe: {}", crate::chain(failure.as_ref()));
            ExitCode::from(UNUSABLE)
        }
    }
}

fn tested(args: &SelftestArgs) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let areas = checks::all();
    let selection = Selection::new(&areas, &args.only, &args.skip)?;
    if args.list {
        if args.json {
            say(&format!("{:#}", report::list_json(&areas)));
        } else {
            say(report::list(&areas).trim_end());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let server = args.url.as_deref().unwrap_or_default();
    let patience = Duration::from_secs(args.timeout);
    let client = Client::new(server)?;
    let budget = Sats::new(args.budget_sats)?;
    let payer = payer(args, patience)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        client.reach(patience.min(REACH_PATIENCE)).await?;
        let began = Instant::now();
        let mut run = Run::new(Api::new(client, patience), payer, budget);
        let report_line = |finished: &runner::Finished| {
            if !args.json {
                say(&report::line(finished));
            }
        };
        let finished = runner::run(&areas, &selection, patience, &mut run, report_line).await;
        let (took, payer) = (began.elapsed(), run.payer.name());
        if args.json {
            let server = without_secrets(server).unwrap_or_else(|| server.to_owned());
            say(&format!("{:#}", report::json(&server, &finished, &run.purse, payer, took)));
        } else {
            say(&format!("\n{}", report::summary(&finished, &run.purse, payer, took)));
        }
        let failed = finished.iter().any(|done| matches!(done.outcome, runner::Outcome::Failed(_)));
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
}

fn payer(args: &SelftestArgs, patience: Duration) -> Result<Box<dyn Payer>, Box<dyn std::error::Error>> {
    let connection = args.nwc.as_deref().map(str::trim).filter(|connection| !connection.is_empty());
    match (args.pay, connection) {
        (Some(Pay::Dev), _) | (None, None) => Ok(Box::new(DevPayer)),
        (Some(Pay::Nwc), None) => {
            Err("no wallet to pay with: set the connection string with --nwc or TITHE_SELFTEST_NWC".into())
        }
        // A check has time left to say what became of a payment.
        (Some(Pay::Nwc) | None, Some(connection)) => Ok(Box::new(nwc::payer(connection, patience / 2)?)),
    }
}

/// Prints a line at once. Nobody may be reading any more, which is no failure of the server.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _unread = writeln!(out, "{line}").and_then(|()| out.flush());
}
