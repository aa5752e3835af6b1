//! A store in a file, for one test.

use std::path::Path;
use std::sync::Arc;
use tithe_engine::store::Store;
use tithe_store_sqlite::{SqliteSettings, SqliteStore, Synchronous};

/// What must be kept as long as the store is used.
pub(crate) struct Kept;

/// Opens an empty one.
pub(crate) async fn open(folder: &Path) -> (Arc<dyn Store>, Kept) {
    let url = format!("sqlite://{}", folder.join("tithe.db").display());
    let settings = SqliteSettings { synchronous: Synchronous::Off, ..SqliteSettings::default() };
    (Arc::new(SqliteStore::open(&url, settings).await.unwrap()), Kept)
}
