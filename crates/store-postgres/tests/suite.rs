//! PostgreSQL passes the suite.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Arc;
use tithe_engine::store::Store;
use tithe_store_postgres::{PostgresSettings, PostgresStore};
use tithe_test_postgres::TestDatabase;

async fn open(servers: usize) -> (Vec<Arc<dyn Store>>, TestDatabase) {
    let template = format!("tithe_{}", PostgresStore::schema_version());
    let migrate = |url: String| async move {
        PostgresStore::migrate(&url, PostgresSettings::default()).await?;
        Ok(())
    };
    let database = TestDatabase::create(&template, migrate).await;
    let mut stores: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..servers {
        let store = PostgresStore::connect(database.url(), PostgresSettings::default()).await.unwrap();
        stores.push(Arc::new(store));
    }
    (stores, database)
}

tithe_store_suite::store_suite!(open);
