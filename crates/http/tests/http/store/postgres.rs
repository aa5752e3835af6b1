//! A store in a database of its own, for one test.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tithe_engine::store::Store;
use tithe_store_postgres::{PostgresSettings, PostgresStore};
use tithe_test_postgres::TestDatabase;

/// Resources that must outlive the store.
pub(crate) type Kept = TestDatabase;

/// Opens an empty store.
pub(crate) async fn open(_folder: &Path) -> (Arc<dyn Store>, Kept) {
    // Many tests run concurrently on one server.
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

/// Every row of every table, in order.
pub(crate) async fn rows(kept: &Kept, _folder: &Path) -> BTreeMap<String, Vec<String>> {
    let (client, connection) = tokio_postgres::connect(kept.url(), tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let lines = async |sql: &str| -> Vec<String> {
        client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    };
    let mut rows = BTreeMap::new();
    for table in lines("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'").await {
        let all = lines(&format!("SELECT t::text FROM \"{table}\" t ORDER BY 1")).await;
        rows.insert(table, all);
    }
    drop(client);
    connection.await.unwrap().unwrap();
    rows
}
