//! Which store a database URL means.

use crate::config::Config;
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
    /// Tells stores apart by their URLs, and checks what can be checked of one without connecting.
    pub(crate) fn of(config: &Config) -> Result<Self, Failure> {
        let url = config.database();
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            PostgresStore::check_url(&url)?;
            let connections = config.database_connections;
            let settings = PostgresSettings { connections, ..PostgresSettings::default() };
            return Ok(Self::Postgres { url, settings });
        }
        if !url.starts_with("sqlite://") {
            let scheme = url.split_once("://").map_or("no URL", |(scheme, _)| scheme);
            return Err(format!(
                "DATABASE_URL is of no database that is known here ({scheme}); write sqlite://path/to/file.db or \
                 postgres://user:password@host/database"
            )
            .into());
        }
        SqliteStore::path_of(&url)?;
        Ok(Self::Sqlite { url, settings: SqliteSettings::default() })
    }

    /// Brings the tables up to date, making the database first where that is ours to do; says how many steps were missing.
    pub(crate) async fn migrate(&self) -> Result<usize, Failure> {
        Ok(match self {
            Self::Sqlite { url, settings } => SqliteStore::migrate(url, *settings).await?,
            Self::Postgres { url, settings } => PostgresStore::migrate(url, *settings).await?,
        })
    }

    /// Opens the database of a server. Brings its tables up to date.
    pub(crate) async fn open(&self) -> Result<Arc<dyn Store>, Failure> {
        self.migrate().await?;
        self.connect().await
    }

    /// Opens a database that must be there already, and changes nothing about it.
    pub(crate) async fn connect(&self) -> Result<Arc<dyn Store>, Failure> {
        Ok(match self {
            Self::Sqlite { url, settings } => {
                let path = SqliteStore::path_of(url)?;
                if !std::path::Path::new(path).exists() {
                    return Err(format!(
                        "there is no database at {path}; has a server run here (TITHE_DATA_DIR, DATABASE_URL)?"
                    )
                    .into());
                }
                Arc::new(SqliteStore::open(url, *settings).await?)
            }
            Self::Postgres { url, settings } => Arc::new(PostgresStore::connect(url, *settings).await?),
        })
    }
}

/// A database URL that may be shown.
pub(crate) fn without_password(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let hidden = match authority.rsplit_once('@') {
        Some((user, hosts)) => match user.split_once(':') {
            Some((name, _)) => format!("{name}:***@{hosts}"),
            None => authority.to_owned(),
        },
        None => authority.to_owned(),
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let shown = |pair: &str| match pair.split_once('=') {
        Some(("password", _)) => "password=***".to_owned(),
        _ => pair.to_owned(),
    };
    let query: Vec<String> = query.split('&').filter(|pair| !pair.is_empty()).map(shown).collect();
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let hidden = format!("{scheme}://{hidden}{path}{query}");
    (hidden != url).then_some(hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("postgres://u:p@h:5432/d", Some("postgres://u:***@h:5432/d")),
            ("postgres://u:p@q@h,i/d?sslmode=require", Some("postgres://u:***@h,i/d?sslmode=require")),
            ("postgres://h/d?user=u&password=p", Some("postgres://h/d?user=u&password=***")),
            ("postgres://u@h/d", None),
            ("sqlite://tithe.db", None),
        ] {
            assert_eq!(without_password(url).as_deref(), shown);
        }
    }
}
