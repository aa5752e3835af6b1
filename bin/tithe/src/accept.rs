//! `tithe database accept`.

use crate::config::Config;
use crate::database::Database;
use crate::failure::{Failure, doing};
use crate::private;
use std::process::ExitCode;

/// Accepts the configured database, whichever one this machine's servers have used before.
pub(crate) fn run(config: &Config) -> Result<ExitCode, Failure> {
    let data_dir = &config.storage.data_dir;
    private::make_folder(data_dir)
        .map_err(doing(format!("cannot use the data directory {}", data_dir.display())))?;
    let database = Database::of(&config.storage)?;
    let runtime = tokio::runtime::Runtime::new()?;
    match runtime.block_on(database.accept())? {
        Some(accepted) => println!("accepted: {accepted}"),
        None => println!("nothing to accept: SQLite has no timelines"),
    }
    Ok(ExitCode::SUCCESS)
}
