//! `tithe config check`: what is in force, what is wrong with it, and with `--connect` what it leads to.

mod backends;
mod database;
mod machine;
mod mounts;
mod probe;
mod reach;
mod wallet;

use crate::ConfigArgs;
use crate::config::{Config, MountConfig};
use crate::{chain, routes, serve};
use clap::Args;
use futures_util::FutureExt;
use futures_util::future::join_all;
use probe::{Outcome, Probe};
use serde_json::{Value, json};
use std::process::ExitCode;
use tithe_engine::inference::Route;

#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 if everything is right, 1 if something is wrong, 2 if there are only warnings."
)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Also connect to what the settings name: the database, the wallet, the AI backends (each model answers a few tokens, which you
    /// pay for), the price sources. Nothing is changed, and no sat is spent
    #[arg(long)]
    connect: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was found out.
struct Report {
    config: Option<Config>,
    problems: Vec<String>,
    warnings: Vec<String>,
    routes: Vec<Route>,
    probes: Vec<Probe>,
}

/// Checks the configuration, and prints it with secrets hidden.
pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let report = match Config::load(args.config.config.as_deref()) {
        Err(problems) => {
            let (problems, warnings, routes, probes) = (problems.texts(), Vec::new(), Vec::new(), Vec::new());
            Report { config: None, problems, warnings, routes, probes }
        }
        Ok(config) => examine(config, args.connect)?,
    };
    if args.json {
        println!("{:#}", report.to_json());
    } else {
        report.print();
    }
    Ok(report.exit_code())
}

fn examine(config: Config, connect: bool) -> Result<Report, Box<dyn std::error::Error>> {
    let problems: Vec<String> = serve::check(&config).iter().map(|problem| chain(problem.as_ref())).collect();
    // What is wrong already would only fail again.
    let probes = if connect && problems.is_empty() {
        tokio::runtime::Runtime::new()?.block_on(probe_all(&config))
    } else {
        Vec::new()
    };
    let warnings = config.warnings();
    // A file that cannot be read is among the problems.
    let routes = routes::written(&config).unwrap_or_default();
    Ok(Report { config: Some(config), problems, warnings, routes, probes })
}

/// Probes everything at once; the results come in a fixed order.
async fn probe_all(config: &Config) -> Vec<Probe> {
    let found = join_all([
        probe::limited(machine::probe(config)).boxed_local(),
        probe::limited(database::probe(config)).boxed_local(),
        probe::limited(wallet::probe(config)).boxed_local(),
        probe::limited(backends::probe(config)).boxed_local(),
        probe::limited(mounts::probe(config)).boxed_local(),
        probe::limited(reach::probe(config)).boxed_local(),
    ]);
    found.await.into_iter().flatten().collect()
}

impl Report {
    fn exit_code(&self) -> ExitCode {
        let worst = self.probes.iter().map(|probe| probe.outcome).max().unwrap_or(Outcome::Ok);
        if !self.problems.is_empty() || worst == Outcome::Failed {
            ExitCode::FAILURE
        } else if !self.warnings.is_empty() || worst == Outcome::Warning {
            ExitCode::from(2)
        } else {
            ExitCode::SUCCESS
        }
    }

    fn print(&self) {
        if let Some(config) = &self.config {
            print!("{}", config.describe());
        }
        if !self.routes.is_empty() {
            println!("\n# The routes in TITHE_ROUTES:");
        }
        for route in &self.routes {
            println!("# {}: {}", route.model, targets(route).join(", then "));
        }
        if !self.probes.is_empty() {
            println!("\n# What it leads to:");
        }
        for probe in &self.probes {
            println!("# {:<7} {:<12} {}", probe.outcome.name(), probe.subject, probe.detail);
        }
        for warning in &self.warnings {
            eprintln!("tithe: warning: {warning}");
        }
        for problem in &self.problems {
            eprintln!("tithe: {problem}");
        }
    }

    fn to_json(&self) -> Value {
        let probes = self.probes.iter().map(|probe| {
            json!({ "subject": probe.subject, "outcome": probe.outcome.name(), "detail": probe.detail })
        });
        json!({
            "problems": self.problems,
            "warnings": self.warnings,
            "settings": self.config.as_ref().map(Config::to_json),
            "routes": self.routes.iter().map(|route| json!({ "model": route.model, "targets": targets(route) })).collect::<Vec<_>>(),
            "mounts": self.config.iter().flat_map(|config| &config.mounts).map(MountConfig::to_json).collect::<Vec<_>>(),
            "probes": probes.collect::<Vec<_>>(),
        })
    }
}

/// The targets of a route, in words.
fn targets(route: &Route) -> Vec<String> {
    let targets = route.targets.iter().map(|target| {
        let name = target.name.as_ref().filter(|name| **name != target.model);
        let name = name.map(|name| format!(" (as {name})")).unwrap_or_default();
        format!("{}{name} at {}", target.model, target.backend)
    });
    targets.collect()
}
