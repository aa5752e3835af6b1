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

/// What may be shown of a database URL with a password in it; `None` if there is none. Rather too much is hidden than too
/// little: a URL that is written wrongly still holds its password.
pub(crate) fn without_password(url: &str) -> Option<String> {
    let start = url.find("://").map_or(0, |at| at + 3);
    let user_ends = url.rfind('@').filter(|at| *at > start);
    let password_begins = url.get(start..).and_then(|rest| rest.find(':')).map(|at| start + at + 1);
    let mut shown = match (password_begins, user_ends) {
        (Some(from), Some(to)) if from < to => {
            let (before, after) = (url.get(..from)?, url.get(to..)?);
            format!("{before}***{after}")
        }
        _ => url.to_owned(),
    };
    let mut looked = 0;
    while let Some(at) = shown.get(looked..).and_then(|rest| rest.find("password=")) {
        looked += at + "password=".len();
        let rest = shown.get(looked..)?;
        let end = looked + rest.find('&').unwrap_or(rest.len());
        shown.replace_range(looked..end, "***");
    }
    (shown != url).then_some(shown)
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
            // Written wrongly, and yet not shown.
            ("postgres:u:p@h/d", Some("postgres:***@h/d")),
            ("u:p@h/d", Some("u:***@h/d")),
            ("postgres://u:1/p@h/d", Some("postgres://u:***@h/d")),
            ("postgres://u:1?p@h/d", Some("postgres://u:***@h/d")),
            (
                "postgres://h/d?password=a&x=y&password=b",
                Some("postgres://h/d?password=***&x=y&password=***"),
            ),
        ] {
            assert_eq!(without_password(url).as_deref(), shown);
        }
    }
}
