//! Choosing the store by the database URL.

use crate::config::Storage;
use crate::failure::{Failure, doing};
use std::path::Path;
use std::sync::Arc;
use tithe_engine::store::Store;
use tithe_store_postgres::{PostgresSettings, PostgresStore, Timelines};
use tithe_store_sqlite::{SqliteSettings, SqliteStore};

/// What to look at when a file is not there.
const WHERE_TO_LOOK: &str = "cannot use the database of TITHE_DATA_DIR and DATABASE_URL";

/// The file in the data directory with the timelines of a PostgreSQL database that were seen.
const TIMELINES: &str = "database.timelines";
/// What to look at when the URL is none, or leads nowhere.
const WRONG_URL: &str = "cannot use DATABASE_URL";
const WRONG_DATABASE: &str = "cannot use the database of DATABASE_URL";

/// The database that the configuration names.
pub(crate) enum Database {
    Sqlite { url: String, settings: SqliteSettings },
    Postgres { url: String, settings: PostgresSettings, timelines: Timelines },
}

impl Database {
    /// Chooses the store by the scheme of the URL, and checks the URL without connecting.
    pub(crate) fn of(storage: &Storage) -> Result<Self, Failure> {
        let url = storage.database();
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            PostgresStore::check_url(&url).map_err(doing(WRONG_URL))?;
            let connections = storage.database_connections;
            let settings = PostgresSettings { connections, ..PostgresSettings::default() };
            // A command on a machine that has no data directory leaves none behind.
            let timelines = if storage.data_dir.is_dir() {
                Timelines::kept_in(storage.data_dir.join(TIMELINES))
            } else {
                Timelines::default()
            };
            return Ok(Self::Postgres { url, settings, timelines });
        }
        if !url.starts_with("sqlite://") {
            let scheme = url.split_once("://").map_or("no scheme", |(scheme, _)| scheme);
            return Err(format!(
                "invalid DATABASE_URL: expected sqlite://path/to/file.db or postgres://user:password@host/database, got \
                 {scheme}"
            )
            .into());
        }
        SqliteStore::path_of(&url).map_err(doing(WRONG_URL))?;
        Ok(Self::Sqlite { url, settings: SqliteSettings::default() })
    }

    /// Applies pending migrations, creating a SQLite database if it does not exist; returns how many were applied.
    pub(crate) async fn migrate(&self) -> Result<usize, Failure> {
        Ok(match self {
            Self::Sqlite { url, settings } => {
                check_folder(Path::new(SqliteStore::path_of(url)?))?;
                SqliteStore::migrate(url, *settings).await?
            }
            Self::Postgres { url, settings, timelines } => {
                let migrated = PostgresStore::migrate_after(url, *settings, timelines).await;
                migrated.map_err(doing(WRONG_DATABASE))?
            }
        })
    }

    /// The database of a URL, as `DATABASE_URL` is read: a relative SQLite path is below the data directory.
    pub(crate) fn of_url(storage: &Storage, url: &str) -> Result<Self, Failure> {
        Self::of(&storage.with_database(url))
    }

    /// The same database, of which nothing was seen and nothing will be kept.
    pub(crate) fn forget_timelines(&self) -> Self {
        match self {
            Self::Sqlite { url, settings } => Self::Sqlite { url: url.clone(), settings: *settings },
            Self::Postgres { url, settings, .. } => {
                Self::Postgres { url: url.clone(), settings: *settings, timelines: Timelines::default() }
            }
        }
    }

    /// The URL, with any password.
    pub(crate) fn url(&self) -> &str {
        match self {
            Self::Sqlite { url, .. } | Self::Postgres { url, .. } => url,
        }
    }

    /// The URL and the settings of a SQLite database; for another one, the reason why this command is not for it.
    pub(crate) fn sqlite(&self, command: &str) -> Result<(&str, SqliteSettings), Failure> {
        match self {
            Self::Sqlite { url, settings } => Ok((url, *settings)),
            Self::Postgres { .. } => Err(format!(
                "`tithe {command}` is for SQLite: expected DATABASE_URL=sqlite://path/to/file.db, got a PostgreSQL URL; \
                 docs/operating/back-up.md has the commands for PostgreSQL (pg_dump, pg_restore, pg_basebackup)"
            )
            .into()),
        }
    }

    /// Applies pending migrations and opens the database.
    pub(crate) async fn open(&self) -> Result<Arc<dyn Store>, Failure> {
        if let Self::Sqlite { url, settings } = self {
            check_folder(Path::new(SqliteStore::path_of(url)?))?;
            return Ok(Arc::new(SqliteStore::open(url, *settings).await?));
        }
        self.migrate().await?;
        self.connect().await
    }

    /// Opens an existing database whose tables are up to date. It creates and migrates nothing.
    pub(crate) async fn connect(&self) -> Result<Arc<dyn Store>, Failure> {
        Ok(match self {
            Self::Sqlite { url, settings } => {
                let connected = SqliteStore::connect(url, *settings).await;
                Arc::new(connected.map_err(doing(WHERE_TO_LOOK))?)
            }
            Self::Postgres { url, settings, timelines } => {
                let connected = PostgresStore::connect_after(url, *settings, timelines).await;
                Arc::new(connected.map_err(doing(WRONG_DATABASE))?)
            }
        })
    }

    /// Accepts the database, whichever one was used before, and describes it; `None` if its kind has no timelines.
    pub(crate) async fn accept(&self) -> Result<Option<String>, Failure> {
        match self {
            Self::Sqlite { .. } => Ok(None),
            Self::Postgres { url, settings, timelines } => {
                Ok(Some(PostgresStore::accept(url, *settings, timelines).await?))
            }
        }
    }

    /// Like [`Self::connect`], for a command that only reads. A file is left exactly as it is, and any database may be read.
    pub(crate) async fn connect_to_read(&self) -> Result<Arc<dyn Store>, Failure> {
        match self {
            Self::Sqlite { url, settings } => {
                let connected = SqliteStore::connect_read_only(url, *settings).await;
                Ok(Arc::new(connected.map_err(doing(WHERE_TO_LOOK))?))
            }
            Self::Postgres { url, settings, .. } => {
                Ok(Arc::new(PostgresStore::connect(url, *settings).await?))
            }
        }
    }
}

/// Checks that a new file can be made where it is to be. The data directory is made at the first start; no other folder is.
pub(crate) fn check_folder(file: &Path) -> Result<(), Failure> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() || file.exists() {
        return Ok(());
    }
    let (folder, file) = (folder.display(), file.display());
    Err(format!("invalid DATABASE_URL: expected a file in a folder that exists, got {file}: there is no folder {folder}").into())
}
