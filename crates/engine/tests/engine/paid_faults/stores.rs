//! The stores that the trials run on.

use crate::scene::Scene;
use std::any::Any;
use std::sync::Arc;
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

/// What must outlive the store.
pub type Kept = Box<dyn Any + Send + Sync>;

impl StoreKind {
    /// A scene on an empty store.
    pub async fn scene(self) -> (Scene, Kept) {
        match self {
            Self::Memory => (Scene::open().await, Box::new(())),
            Self::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite://{}", folder.path().join("tithe.db").display());
                let settings = SqliteSettings { synchronous: Synchronous::Off, ..SqliteSettings::default() };
                let store = SqliteStore::open(&url, settings).await.unwrap();
                (Self::on(store).await, Box::new(folder))
            }
            Self::Postgres => {
                let settings = PostgresSettings { connections: 2, ..PostgresSettings::default() };
                let template = format!("tithe_{}", PostgresStore::schema_version());
                let migrate = async |url: String| {
                    PostgresStore::migrate(&url, settings).await?;
                    Ok(())
                };
                let database = TestDatabase::create(&template, migrate).await;
                let store = PostgresStore::connect(database.url(), settings).await.unwrap();
                (Self::on(store).await, Box::new(database))
            }
        }
    }

    async fn on(store: impl Store + 'static) -> Scene {
        Scene::open_on(Arc::new(store)).await
    }
}
