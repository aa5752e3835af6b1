//! `tithe migrate`.

use crate::config::Config;
use crate::database::Database;
use std::process::ExitCode;

/// Brings the tables up to date, for who does that in a step of its own before servers start.
pub(crate) fn run(config: &Config) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let database = Database::of(config)?;
    if let Database::Sqlite { .. } = database {
        crate::private::make_folder(&config.data_dir)?;
    }
    match tokio::runtime::Runtime::new()?.block_on(database.migrate())? {
        0 => println!("the tables are up to date"),
        steps => println!("the tables were brought up to date ({steps} steps)"),
    }
    Ok(ExitCode::SUCCESS)
}
