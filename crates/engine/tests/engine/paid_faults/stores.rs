//! The stores that the trials run on.

use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tithe_engine::store::Store;
use tithe_store_postgres::{PostgresSettings, PostgresStore};
use tithe_store_sqlite::{SqliteSettings, SqliteStore, Synchronous};
use tithe_test_postgres::TestDatabase;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    Memory,
    Sqlite,
    Postgres,
}

/// A store's place, which is removed on drop.
pub enum Place {
    Memory,
    Sqlite { store: Arc<dyn Store>, _folder: TempDir },
    Postgres(TestDatabase),
}

impl StoreKind {
    /// A place with nothing in it.
    pub async fn place(self) -> Place {
        match self {
            Self::Memory => Place::Memory,
            Self::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite://{}", folder.path().join("tithe.db").display());
                let settings = SqliteSettings { synchronous: Synchronous::Off, ..SqliteSettings::default() };
                let store = SqliteStore::open(&url, settings).await.unwrap();
                Place::Sqlite { store: Arc::new(store), _folder: folder }
            }
            Self::Postgres => {
                let template = format!("tithe_{}", PostgresStore::schema_version());
                let migrate = async |url: String| {
                    PostgresStore::migrate(&url, POSTGRES).await?;
                    Ok(())
                };
                Place::Postgres(TestDatabase::create(&template, migrate).await)
            }
        }
    }
}

/// Many databases are used at once.
const POSTGRES: PostgresSettings = PostgresSettings {
    connections: 3,
    patience: Duration::from_secs(5),
    statement_timeout: Duration::from_secs(10),
};

impl Place {
    /// The store of a new server: a client of its own, where several processes can share a database. `None` on memory: the scene has one.
    pub async fn store(&self) -> Option<Arc<dyn Store>> {
        match self {
            Self::Memory => None,
            Self::Sqlite { store, .. } => Some(store.clone()),
            Self::Postgres(database) => {
                let store = PostgresStore::connect(database.url(), POSTGRES).await.unwrap();
                Some(Arc::new(store))
            }
        }
    }
}
