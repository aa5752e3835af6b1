//! Whether a database is whole.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::Text;
use std::path::Path;
use std::time::{Duration, Instant};
use tithe_engine::log::millis;
use tracing::{error, info, warn};

/// How long the start of a server waits for the answer. A check that takes longer goes on beside it.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(QueryableByName)]
struct Problem {
    #[diesel(sql_type = Text)]
    value: String,
}

/// How long the check waits for the lock of another program.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The reason why a database is not known to be whole.
#[derive(Debug)]
pub(crate) enum IntegrityError {
    /// It is damaged: what SQLite says.
    Corrupt(String),
    /// It could not be checked, and may be whole.
    Unchecked(Box<dyn std::error::Error + Send + Sync>),
}

impl From<diesel::result::Error> for IntegrityError {
    fn from(cause: diesel::result::Error) -> Self {
        match &cause {
            // diesel distinguishes SQLITE_CORRUPT and SQLITE_NOTADB only by their texts.
            diesel::result::Error::DatabaseError(_, info)
                if matches!(
                    info.message(),
                    "database disk image is malformed" | "file is not a database"
                ) || info.message().starts_with("malformed database schema") =>
            {
                Self::Corrupt(info.message().to_owned())
            }
            _ => Self::Unchecked(cause.into()),
        }
    }
}

/// Looks whether databases are whole.
pub(crate) struct Integrity;

impl Integrity {
    /// Looks at a database that was not closed properly, without changing it.
    pub(crate) async fn of_unclosed(database: &Path) -> Result<(), IntegrityError> {
        let path = database.display().to_string();
        info!(file = path, "the database was not closed properly, or still is open: checking it");
        let begun = Instant::now();
        let address = read_only(&path);
        let mut looking = tokio::task::spawn_blocking(move || Self::look(&address, "quick_check"));
        match tokio::time::timeout(PATIENCE, &mut looking).await {
            Ok(Ok(outcome)) => outcome
                .map(|()| info!(file = path, duration_ms = millis(begun.elapsed()), "the database is whole")),
            Ok(Err(ended)) => Err(IntegrityError::Unchecked(ended.into())),
            Err(_late) => {
                warn!(file = path, "the database is large: the check goes on while the server starts");
                tokio::spawn(async move {
                    match looking.await {
                        Ok(Ok(())) => info!(file = path, "the database is whole"),
                        Ok(Err(IntegrityError::Corrupt(problem))) => {
                            error!(
                                file = path,
                                error = problem,
                                "the database is corrupt: stop the server, and restore a backup with `tithe restore`"
                            );
                        }
                        Ok(Err(IntegrityError::Unchecked(cause))) => {
                            warn!(file = path, error = %cause, "the database cannot be checked");
                        }
                        Err(ended) => {
                            warn!(file = path, error = %ended, "the check of the database has ended early");
                        }
                    }
                });
                Ok(())
            }
        }
    }

    /// Runs `quick_check`, or `integrity_check`, which also compares indexes with their tables.
    pub(crate) fn look(address: &str, check: &str) -> Result<(), IntegrityError> {
        Self::of_connection(&mut Self::connect(address)?, check)
    }

    fn connect(address: &str) -> Result<SqliteConnection, IntegrityError> {
        let established = SqliteConnection::establish(address);
        let mut connection = established.map_err(|cause| IntegrityError::Unchecked(cause.into()))?;
        connection.batch_execute(&format!("PRAGMA busy_timeout = {}", BUSY_TIMEOUT.as_millis()))?;
        Ok(connection)
    }

    pub(crate) fn of_connection(
        connection: &mut SqliteConnection,
        check: &str,
    ) -> Result<(), IntegrityError> {
        let column = format!("SELECT {check} AS value FROM pragma_{check} LIMIT 5");
        let problems: Vec<Problem> = diesel::sql_query(column).load(connection)?;
        let problems: Vec<String> =
            problems.into_iter().map(|row| row.value).filter(|value| value != "ok").collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(IntegrityError::Corrupt(problems.join("; ").replace('\n', " ")))
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(QueryableByName)]
    struct Timeout {
        #[diesel(sql_type = diesel::sql_types::Integer)]
        timeout: i32,
    }

    fn made(folder: &tempfile::TempDir) -> String {
        let path = folder.path().join("tithe.db").display().to_string();
        let mut database = SqliteConnection::establish(&path).unwrap();
        database.batch_execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)").unwrap();
        path
    }

    #[test]
    fn a_locked_database_is_not_called_corrupt() {
        let folder = tempfile::tempdir().unwrap();
        let path = made(&folder);
        let mut other = SqliteConnection::establish(&path).unwrap();
        other.batch_execute("BEGIN EXCLUSIVE").unwrap();
        let mut checking = SqliteConnection::establish(&read_only(&path)).unwrap();
        let refused = Integrity::of_connection(&mut checking, "quick_check").unwrap_err();
        assert!(
            matches!(&refused, IntegrityError::Unchecked(cause) if cause.to_string().contains("locked")),
            "{refused:?}"
        );
        other.batch_execute("COMMIT").unwrap();
        Integrity::of_connection(&mut checking, "quick_check").unwrap();
    }

    #[test]
    fn damaged_bytes_and_a_damaged_schema_are_corrupt() {
        let folder = tempfile::tempdir().unwrap();
        let path = made(&folder);
        let mut database = SqliteConnection::establish(&path).unwrap();
        let damage =
            "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = 'CREATE TABLE notes (id, id)';";
        database.batch_execute(damage).unwrap();
        drop(database);
        let refused = Integrity::look(&read_only(&path), "quick_check").unwrap_err();
        assert!(
            matches!(&refused, IntegrityError::Corrupt(problem) if problem.contains("schema")),
            "{refused:?}"
        );
        std::fs::write(
            &path,
            "a text that is as long as the header of a database, and more than that; ".repeat(99),
        )
        .unwrap();
        let refused = Integrity::look(&read_only(&path), "quick_check").unwrap_err();
        assert!(
            matches!(&refused, IntegrityError::Corrupt(problem) if problem.contains("not a database")),
            "{refused:?}"
        );
    }

    #[test]
    fn a_check_waits_for_other_programs() {
        let folder = tempfile::tempdir().unwrap();
        let mut checking = Integrity::connect(&read_only(&made(&folder))).unwrap();
        let waits: Timeout = diesel::sql_query("PRAGMA busy_timeout").get_result(&mut checking).unwrap();
        assert_eq!(waits.timeout, 5_000);
    }
}
