//! `tithe models`: the prices of models, for the operator.

mod decimal;
mod diff;
mod genai_prices;
mod import;

use crate::ConfigArgs;
use crate::config::Config;
use crate::failure::Failure;
use clap::Subcommand;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Subcommand)]
pub(crate) enum ModelsCommand {
    /// Compare the prices in force with a file of prices, and write those that differ as a file for `TITHE_MODELS`
    ///
    /// The file is JSON in the format of genai-prices, version 2 (`prices/new_data/v2/data.json` of github.com/pydantic/genai-prices). Only models
    /// that the catalogue has are compared: the file does not say what else an entry needs. Without --write, nothing is written.
    Import {
        /// The file of prices
        file: PathBuf,
        #[command(flatten)]
        config: ConfigArgs,
        /// Only the prices of this provider, by its id in the file
        #[arg(long, value_name = "PROVIDER")]
        provider: Option<String>,
        /// Write the models whose prices differ, and all models of the present `TITHE_MODELS`, to this file
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
        /// Replace the file to write if it exists
        #[arg(long, requires = "write")]
        yes: bool,
    },
}

impl ModelsCommand {
    /// The arguments that name the configuration.
    pub(crate) const fn config(&self) -> &ConfigArgs {
        match self {
            Self::Import { config, .. } => config,
        }
    }
}

/// Runs a command.
pub(crate) fn run(config: &Config, command: ModelsCommand) -> Result<ExitCode, Failure> {
    match command {
        ModelsCommand::Import { file, provider, write, yes, .. } => {
            let destination = write.as_deref().map(|path| import::Destination { path, may_replace: yes });
            import::run(config.inference.models.as_deref(), &file, provider.as_deref(), destination)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
