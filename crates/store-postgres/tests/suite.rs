//! PostgreSQL passes the suite.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Arc;
use tithe_engine::store::Store;
use tithe_store_postgres::{PostgresSettings, PostgresStore};
use tithe_test_postgres::TestDatabase;

async fn open() -> (Arc<dyn Store>, TestDatabase) {
    let template = format!("tithe_{}", PostgresStore::schema_version());
    let migrate = |url: String| async move {
        PostgresStore::migrate(&url, PostgresSettings::default()).await?;
        Ok(())
    };
    let database = TestDatabase::create(&template, migrate).await;
    let store = PostgresStore::connect(database.url(), PostgresSettings::default()).await.unwrap();
    (Arc::new(store), database)
}

tithe_store_suite::store_suite!(open);
