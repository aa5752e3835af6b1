//! Whether a database is whole.

use diesel::prelude::*;
use diesel::sql_types::Text;
use std::path::Path;
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// How long the start of a server waits for the answer. A check that takes longer goes on beside it.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(QueryableByName)]
struct Problem {
    #[diesel(sql_type = Text)]
    value: String,
}

/// Looks whether databases are whole.
pub(crate) struct Integrity;

impl Integrity {
    /// Looks at a database that was not closed properly, without changing it; the error says what is wrong with it.
    pub(crate) async fn of_unclosed(database: &Path) -> Result<(), String> {
        let path = database.display().to_string();
        info!(path, "the database was not closed properly, or still is open: checking it");
        let begun = Instant::now();
        let address = read_only(&path);
        let mut looking = tokio::task::spawn_blocking(move || Self::look(&address, "quick_check"));
        match tokio::time::timeout(PATIENCE, &mut looking).await {
            Ok(Ok(outcome)) => outcome
                .map(|()| info!(path, elapsed_ms = begun.elapsed().as_millis(), "the database is whole")),
            Ok(Err(ended)) => Err(format!("the check has ended early: {ended}")),
            Err(_late) => {
                warn!(path, "the database is large: the check goes on while the server starts");
                tokio::spawn(async move {
                    match looking.await {
                        Ok(Ok(())) => info!(path, "the database is whole"),
                        Ok(Err(problem)) => {
                            error!(
                                path,
                                problem,
                                "the database is corrupt: stop the server, and restore a backup with `tithe restore`"
                            );
                        }
                        Err(ended) => warn!(path, %ended, "the check of the database has ended early"),
                    }
                });
                Ok(())
            }
        }
    }

    /// Runs `quick_check`, or `integrity_check`, which also compares indexes with their tables.
    pub(crate) fn look(address: &str, check: &str) -> Result<(), String> {
        let mut connection = SqliteConnection::establish(address).map_err(|cause| cause.to_string())?;
        Self::of_connection(&mut connection, check)
    }

    pub(crate) fn of_connection(connection: &mut SqliteConnection, check: &str) -> Result<(), String> {
        let column = format!("SELECT {check} AS value FROM pragma_{check} LIMIT 5");
        let problems: Vec<Problem> =
            diesel::sql_query(column).load(connection).map_err(|cause| cause.to_string())?;
        let problems: Vec<String> =
            problems.into_iter().map(|row| row.value).filter(|value| value != "ok").collect();
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ").replace('\n', " ")) }
    }
}

/// The address at which SQLite opens a file for reading only (<https://sqlite.org/uri.html>).
pub(crate) fn read_only(path: &str) -> String {
    format!("file:{}?mode=ro", escaped(path))
}

/// The same, for a file that nobody changes and that has no log: nothing is written beside it.
pub(crate) fn immutable(path: &str) -> String {
    format!("file:{}?mode=ro&immutable=1", escaped(path))
}

fn escaped(path: &str) -> String {
    path.replace('%', "%25").replace('#', "%23").replace('?', "%3f")
}
