//! Choosing the store by the database URL.

use crate::config::Storage;
use std::sync::Arc;
use tithe_engine::store::Store;
use tithe_store_postgres::{PostgresSettings, PostgresStore};
use tithe_store_sqlite::{SqliteSettings, SqliteStore};

type Failure = Box<dyn std::error::Error>;

/// The database that the configuration names.
pub(crate) enum Database {
    Sqlite { url: String, settings: SqliteSettings },
    Postgres { url: String, settings: PostgresSettings },
}

impl Database {
    /// Chooses the store by the scheme of the URL, and checks the URL without connecting.
    pub(crate) fn of(storage: &Storage) -> Result<Self, Failure> {
        let url = storage.database();
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            PostgresStore::check_url(&url)?;
            let connections = storage.database_connections;
            let settings = PostgresSettings { connections, ..PostgresSettings::default() };
            return Ok(Self::Postgres { url, settings });
        }
        if !url.starts_with("sqlite://") {
            let scheme = url.split_once("://").map_or("no scheme", |(scheme, _)| scheme);
            return Err(format!(
                "invalid DATABASE_URL: expected sqlite://path/to/file.db or postgres://user:password@host/database, got \
                 {scheme}"
            )
            .into());
        }
        SqliteStore::path_of(&url)?;
        Ok(Self::Sqlite { url, settings: SqliteSettings::default() })
    }

    /// Applies pending migrations, creating a SQLite database if it does not exist; returns how many were applied.
    pub(crate) async fn migrate(&self) -> Result<usize, Failure> {
        Ok(match self {
            Self::Sqlite { url, settings } => SqliteStore::migrate(url, *settings).await?,
            Self::Postgres { url, settings } => PostgresStore::migrate(url, *settings).await?,
        })
    }

    /// Applies pending migrations and opens the database.
    pub(crate) async fn open(&self) -> Result<Arc<dyn Store>, Failure> {
        self.migrate().await?;
        self.connect().await
    }

    /// Opens an existing database without changing it.
    pub(crate) async fn connect(&self) -> Result<Arc<dyn Store>, Failure> {
        Ok(match self {
            Self::Sqlite { url, settings } => {
                let path = SqliteStore::path_of(url)?;
                if !std::path::Path::new(path).exists() {
                    return Err(
                        format!("no database at {path}: check TITHE_DATA_DIR and DATABASE_URL").into()
                    );
                }
                Arc::new(SqliteStore::open(url, *settings).await?)
            }
            Self::Postgres { url, settings } => Arc::new(PostgresStore::connect(url, *settings).await?),
        })
    }
}
