//! A store in a file, for one test.

use diesel::prelude::*;
use diesel::sql_types::Text;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tithe_engine::store::Store;
use tithe_store_sqlite::{SqliteSettings, SqliteStore, Synchronous};

/// Resources that must outlive the store.
pub(crate) struct Kept;

/// Opens an empty store.
pub(crate) async fn open(folder: &Path) -> (Arc<dyn Store>, Kept) {
    let url = format!("sqlite://{}", folder.join("tithe.db").display());
    let settings = SqliteSettings { synchronous: Synchronous::Off, ..SqliteSettings::default() };
    (Arc::new(SqliteStore::open(&url, settings).await.unwrap()), Kept)
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// Every row of every table, in order.
#[expect(clippy::unused_async, reason = "the PostgreSQL version is asynchronous")]
pub(crate) async fn rows(_kept: &Kept, folder: &Path) -> BTreeMap<String, Vec<String>> {
    let mut file = SqliteConnection::establish(folder.join("tithe.db").to_str().unwrap()).unwrap();
    let mut lines = |sql: &str| -> Vec<String> {
        let lines: Vec<Line> = diesel::sql_query(sql).load(&mut file).unwrap();
        lines.into_iter().map(|line| line.line).collect()
    };
    let tables = lines("SELECT name AS line FROM sqlite_master WHERE type = 'table'");
    let mut rows = BTreeMap::new();
    for table in tables {
        let columns = format!("SELECT 'quote(' || name || ')' AS line FROM pragma_table_info('{table}')");
        let row = lines(&columns).join(" || ',' || ");
        rows.insert(table.clone(), lines(&format!("SELECT {row} AS line FROM {table} ORDER BY 1")));
    }
    rows
}
