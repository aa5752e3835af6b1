//! What the tables of a database take on the disk, and how their rows were written.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tokio::runtime::Runtime;
use tokio_postgres::NoTls;

/// Where the rows are.
pub(crate) enum Disk {
    Sqlite(PathBuf),
    Postgres(String),
}

/// One table.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableSize {
    /// The rows, with the texts that are stored apart.
    pub(crate) table: i64,
    pub(crate) indexes: i64,
    pub(crate) each_index: BTreeMap<String, i64>,
    pub(crate) inserts: i64,
    pub(crate) updates: i64,
    /// Updates that touched no index.
    pub(crate) hot: i64,
    /// Versions of rows that wait for a vacuum.
    pub(crate) dead: i64,
}

/// All tables at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grown {
    pub(crate) tables: BTreeMap<String, TableSize>,
    /// The position in the log of changes; `None` where there is none that counts.
    pub(crate) wal: Option<i64>,
}

impl Grown {
    /// What was added since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let less = |name: &String, now: &TableSize| {
            let was = before.tables.get(name).cloned().unwrap_or_default();
            let each = now.each_index.iter();
            TableSize {
                table: now.table - was.table,
                indexes: now.indexes - was.indexes,
                each_index: each
                    .map(|(index, bytes)| {
                        (index.clone(), bytes - was.each_index.get(index).copied().unwrap_or_default())
                    })
                    .collect(),
                inserts: now.inserts - was.inserts,
                updates: now.updates - was.updates,
                hot: now.hot - was.hot,
                dead: now.dead - was.dead,
            }
        };
        let tables = self.tables.iter().map(|(name, now)| (name.clone(), less(name, now))).collect();
        Self { tables, wal: self.wal.zip(before.wal).map(|(now, was)| now - was) }
    }
}

/// The pages of a table or an index of SQLite.
#[derive(QueryableByName)]
struct Pages {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    of_table: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
}

const SQLITE_PAGES: &str = "\
    SELECT master.name AS name, master.tbl_name AS of_table, master.type AS kind, SUM(stat.pgsize) AS bytes \
    FROM dbstat AS stat JOIN sqlite_master AS master ON master.name = stat.name GROUP BY master.name";

const POSTGRES_TABLES: &str = "\
    SELECT relname::text, pg_table_size(relid), pg_indexes_size(relid), n_tup_ins, n_tup_upd, n_tup_hot_upd, n_dead_tup \
    FROM pg_stat_user_tables";

const POSTGRES_INDEXES: &str =
    "SELECT relname::text, indexrelname::text, pg_relation_size(indexrelid) FROM pg_stat_user_indexes";

impl Disk {
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(file) => format!("sqlite://{}", file.display()),
            Self::Postgres(url) => url.clone(),
        }
    }

    /// The name and the version of the database.
    pub(crate) fn version(&self, runtime: &Runtime) -> String {
        match self {
            Self::Sqlite(_) => "SQLite".to_owned(),
            Self::Postgres(url) => {
                let version =
                    fixture_number(runtime, url, "SELECT current_setting('server_version_num')::bigint");
                format!(
                    "PostgreSQL {} (full_page_writes and autovacuum off, to measure rows and not checkpoints)",
                    version / 10_000
                )
            }
        }
    }

    /// Clears versions of rows away that nobody sees any more, as PostgreSQL does by itself.
    pub(crate) fn vacuum(&self, runtime: &Runtime) {
        if let Self::Postgres(url) = self {
            runtime.block_on(crate::fixture::execute(url, "VACUUM"));
        }
    }

    /// What the tables take now. No server is running, so that everything that was counted is seen.
    pub(crate) fn look(&self, runtime: &Runtime) -> Grown {
        match self {
            Self::Sqlite(file) => look_at_sqlite(&file.display().to_string()),
            Self::Postgres(url) => runtime.block_on(look_at_postgres(url)),
        }
    }
}

fn fixture_number(runtime: &Runtime, url: &str, query: &str) -> i64 {
    runtime.block_on(crate::fixture::number(url, query))
}

fn look_at_sqlite(path: &str) -> Grown {
    let mut connection = SqliteConnection::establish(path).unwrap();
    let pages: Vec<Pages> = diesel::sql_query(SQLITE_PAGES).load(&mut connection).unwrap();
    let mut grown = Grown::default();
    for part in pages {
        let table = grown.tables.entry(part.of_table).or_default();
        if part.kind == "table" {
            table.table += part.bytes;
        } else {
            table.indexes += part.bytes;
            table.each_index.insert(part.name, part.bytes);
        }
    }
    grown
}

async fn look_at_postgres(url: &str) -> Grown {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut grown = Grown::default();
    for row in client.query(POSTGRES_TABLES, &[]).await.unwrap() {
        let size = TableSize {
            table: row.get(1),
            indexes: row.get(2),
            each_index: BTreeMap::new(),
            inserts: row.get(3),
            updates: row.get(4),
            hot: row.get(5),
            dead: row.get(6),
        };
        grown.tables.insert(row.get(0), size);
    }
    for row in client.query(POSTGRES_INDEXES, &[]).await.unwrap() {
        let table: String = row.get(0);
        grown.tables.entry(table).or_default().each_index.insert(row.get(1), row.get(2));
    }
    let wal = client.query_one("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint", &[]).await.unwrap();
    grown.wal = Some(wal.get(0));
    drop(client);
    driver.await.unwrap().unwrap();
    grown
}
