//! A store in a database of its own, for one test.

use std::path::Path;
use std::sync::Arc;
use tithe_engine::store::Store;
use tithe_store_postgres::{PostgresSettings, PostgresStore};
use tithe_test_postgres::TestDatabase;

/// What must be kept as long as the store is used.
pub(crate) type Kept = TestDatabase;

/// Opens an empty one.
pub(crate) async fn open(_folder: &Path) -> (Arc<dyn Store>, Kept) {
    // Many tests run at once, on one server.
    let settings = PostgresSettings { connections: 3, ..PostgresSettings::default() };
    let template = format!("tithe_{}", PostgresStore::schema_version());
    let migrate = async |url: String| {
        PostgresStore::migrate(&url, settings).await?;
        Ok(())
    };
    let database = TestDatabase::create(&template, migrate).await;
    let store = PostgresStore::connect(database.url(), settings).await.unwrap();
    (Arc::new(store), database)
}
