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
use crate::private;
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
                // An import may come before the first start of the server.
                let work = async |engine: Engine| Ok(engine.credits.import(installs).await?);
                report.imported = Some(with_engine(config, Tables::BroughtUpToDate, work)?);
            }
            println!("{}", if json { format!("{:#}", report.json()) } else { report.text() });
        }
        CreditsCommand::Export { output, .. } => {
            let installs = with_engine(config, Tables::AsTheyAre, async |engine| export::all(&engine).await)?;
            export::write(&installs, output.as_deref())?;
        }
        CreditsCommand::Show { install, json, .. } => {
            let find = async |engine: Engine| Ok(engine.credits.install(install).await?);
            let found = with_engine(config, Tables::AsTheyAre, find)?;
            let found = found.ok_or_else(|| format!("there is no install {install}"))?;
            let shown = show::Shown::new(&found, &config.engine.credits.plans, SystemClock.now());
            println!("{}", if json { format!("{:#}", shown.json()) } else { shown.text() });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a command expects of the database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tables {
    /// They exist.
    AsTheyAre,
    /// They are created and migrated, as at the start of a server.
    BroughtUpToDate,
}

/// Does something with an engine on the servers' database.
fn with_engine<T>(
    config: &Config,
    tables: Tables,
    work: impl AsyncFnOnce(Engine) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let database = Database::of(&config.storage)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let store = match tables {
            Tables::AsTheyAre => database.connect().await?,
            Tables::BroughtUpToDate => {
                private::make_folder(&config.storage.data_dir)?;
                database.open().await?
            }
        };
        work(operator_engine(config, store).await?).await
    })
}
