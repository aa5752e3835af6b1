//! `tithe migrate`.

use crate::config::Config;
use crate::database::Database;
use std::process::ExitCode;

/// Migrates the tables, as a separate step before servers start.
pub(crate) fn run(config: &Config) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let database = Database::of(&config.storage)?;
    if let Database::Sqlite { .. } = database {
        crate::private::make_folder(&config.storage.data_dir)?;
    }
    match tokio::runtime::Runtime::new()?.block_on(database.migrate())? {
        0 => println!("the tables are up to date"),
        steps => println!("the tables are up to date (migrations applied: {steps})"),
    }
    Ok(ExitCode::SUCCESS)
}
