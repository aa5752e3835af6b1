//! SQLite passes the suite.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Arc;
use tempfile::TempDir;
use tithe_engine::store::Store;
use tithe_store_sqlite::{SqliteSettings, SqliteStore, Synchronous};

async fn open(servers: usize) -> (Vec<Arc<dyn Store>>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("test.db").display());
    let settings = SqliteSettings { synchronous: Synchronous::Off, ..SqliteSettings::default() };
    let mut stores: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..servers {
        stores.push(Arc::new(SqliteStore::open(&url, settings).await.unwrap()));
    }
    (stores, folder)
}

tithe_store_suite::store_suite!(open);
