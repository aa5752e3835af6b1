//! `tithe credits`: what the installs of apps have used, for the operator.

mod export;
mod import;
mod report;
mod show;

use crate::ConfigArgs;
use crate::config::Config;
use crate::database::Database;
use crate::failure::Failure;
use crate::operator::operator_engine;
use clap::Subcommand;
use std::path::PathBuf;
use std::process::ExitCode;
use tithe_clock::{Clock, SystemClock};
use tithe_engine::Engine;
use tithe_ledger::credits::InstallId;

#[derive(Subcommand)]
pub(crate) enum CreditsCommand {
    /// Import the installs of a relay's credits file: all of them, or none. Installs that already exist are left unchanged
    Import {
        /// The file, or `-` for the standard input
        file: PathBuf,
        #[command(flatten)]
        config: ConfigArgs,
        /// Only check the file, and import nothing
        #[arg(long)]
        check: bool,
        /// Print the report as JSON
        #[arg(long)]
        json: bool,
    },
    /// Export all installs in the format of a relay's credits file
    Export {
        /// The file to write, readable only by its owner. Without it, the standard output is used
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Show what one install has used, and what it has left under the last paid plan that it has proven (core before the first)
    Show {
        /// The install's id: a UUID in lower case
        install: InstallId,
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl CreditsCommand {
    /// The arguments that name the configuration.
    pub(crate) const fn config(&self) -> &ConfigArgs {
        match self {
            Self::Import { config, .. } | Self::Export { config, .. } | Self::Show { config, .. } => config,
        }
    }
}

/// Runs a command.
pub(crate) fn run(config: &Config, command: CreditsCommand) -> Result<ExitCode, Failure> {
    match command {
        CreditsCommand::Import { file, check, json, .. } => {
            let read = match import::read(&file)? {
                Ok(read) => read,
                Err(refused) => {
                    println!("{}", report::refusal(&file, &refused, json));
                    return Ok(ExitCode::FAILURE);
                }
            };
            let mut report = report::Report::of(&read);
            if !check {
                let installs = read.into_installs();
                let imported =
                    with_engine(config, async |engine| Ok(engine.credits.import(installs).await?));
                report.imported = Some(imported?);
            }
            println!("{}", if json { format!("{:#}", report.json()) } else { report.text() });
        }
        CreditsCommand::Export { output, .. } => {
            let installs = with_engine(config, async |engine| export::all(&engine).await)?;
            export::write(&installs, output.as_deref())?;
        }
        CreditsCommand::Show { install, json, .. } => {
            let found = with_engine(config, async |engine| Ok(engine.credits.install(install).await?))?;
            let found = found.ok_or_else(|| format!("there is no install {install}"))?;
            let shown = show::Shown::new(&found, &config.engine.credits.plans, SystemClock.now());
            println!("{}", if json { format!("{:#}", shown.json()) } else { shown.text() });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Does something with an engine on the servers' database.
fn with_engine<T>(
    config: &Config,
    work: impl AsyncFnOnce(Engine) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let database = Database::of(&config.storage)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async { work(operator_engine(config, database.connect().await?).await?).await })
}
