//! The tables of a SQLite database, for copying all of them.

use crate::connection::{Access, Connection, SqliteSettings, establish, store_error};
use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::SimpleAsyncConnection;
use std::collections::BTreeSet;
use tithe_engine::store::StoreError;
use tithe_store_sql::copy::{Column, ColumnKind, NOT_COPIED, Row, Table, Tables, rows_json};
use tokio::sync::mpsc;

#[derive(QueryableByName)]
struct Words {
    #[diesel(sql_type = Text)]
    value: String,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = Nullable<BigInt>)]
    value: Option<i64>,
}

#[derive(QueryableByName)]
struct ColumnRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = BigInt)]
    place_in_key: i64,
}

/// The tables of a SQLite database, in one transaction.
pub struct SqliteTables {
    at: String,
    connection: Connection,
    /// What SQLite says about writes by others.
    version: Option<i64>,
}

impl SqliteTables {
    /// The tables of the file at `path`, of one moment, for reading only.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of_source(path: &str, settings: SqliteSettings) -> Result<Self, StoreError> {
        Self::begin(path, settings, Access::ReadOnly).await
    }

    /// The tables of the file at `path`, for writing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of_target(path: &str, settings: SqliteSettings) -> Result<Self, StoreError> {
        Self::begin(path, settings, Access::ReadWrite).await
    }

    async fn begin(path: &str, settings: SqliteSettings, access: Access) -> Result<Self, StoreError> {
        let established = establish(path.to_owned(), settings, access).await;
        let connection = established.map_err(|cause| StoreError::Unavailable(cause.into()))?;
        let mut tables = Self { at: path.to_owned(), connection, version: None };
        let begin = if access == Access::ReadOnly { "BEGIN" } else { "BEGIN IMMEDIATE" };
        tables.connection.batch_execute(begin).await.map_err(store_error)?;
        tables.version = tables.read_version().await?;
        Ok(tables)
    }

    async fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.connection.spawn_blocking(move |connection| Ok(work(connection))).await.map_err(store_error)?
    }

    async fn read_version(&mut self) -> Result<Option<i64>, StoreError> {
        self.number(
            "SELECT data_version AS value FROM pragma_data_version, (SELECT COUNT(*) FROM sqlite_master)",
        )
        .await
    }

    async fn number(&mut self, statement: &str) -> Result<Option<i64>, StoreError> {
        let statement = statement.to_owned();
        self.run(move |connection| {
            let row: Number = diesel::sql_query(statement).get_result(connection).map_err(store_error)?;
            Ok(row.value)
        })
        .await
    }
}

/// A name as statements quote it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn list(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

fn table_of(connection: &mut SqliteConnection, name: String) -> Result<Table, StoreError> {
    let columns = "SELECT name, type AS kind, CAST(pk AS BIGINT) AS place_in_key \
        FROM pragma_table_xinfo(?) WHERE hidden = 0 ORDER BY name";
    let columns: Vec<ColumnRow> =
        diesel::sql_query(columns).bind::<Text, _>(&name).load(connection).map_err(store_error)?;
    let referred = "SELECT DISTINCT \"table\" AS value FROM pragma_foreign_key_list(?)";
    let referred: Vec<Words> =
        diesel::sql_query(referred).bind::<Text, _>(&name).load(connection).map_err(store_error)?;
    let mut key: Vec<_> = columns.iter().filter(|column| column.place_in_key > 0).collect();
    key.sort_by_key(|column| column.place_in_key);
    let key = key.into_iter().map(|column| column.name.clone()).collect();
    let kinds = columns.into_iter().map(|column| {
        let kind = ColumnKind::of(&name, &column.name, &column.kind)?;
        Ok(Column { name: column.name, kind })
    });
    let columns = kinds.collect::<Result<_, StoreError>>()?;
    let refers_to: BTreeSet<String> = referred.into_iter().map(|row| row.value).collect();
    Ok(Table { name, columns, key, refers_to })
}

fn send_rows(
    connection: &mut SqliteConnection,
    table: &Table,
    into: &mpsc::Sender<Row>,
) -> Result<(), StoreError> {
    let columns = list(table.columns.iter().map(|column| quoted(&column.name)));
    let key = list(table.key.iter().map(|name| quoted(name)));
    let statement =
        format!("SELECT json_array({columns}) AS value FROM {} ORDER BY {key}", quoted(&table.name));
    let rows =
        diesel::sql_query(statement).load_iter::<Words, diesel::connection::DefaultLoadingMode>(connection);
    for row in rows.map_err(store_error)? {
        let row = table.row(&row.map_err(store_error)?.value)?;
        if into.blocking_send(row).is_err() {
            break;
        }
    }
    Ok(())
}

#[async_trait]
impl Tables for SqliteTables {
    fn at(&self) -> &str {
        &self.at
    }

    async fn tables(&mut self) -> Result<Vec<Table>, StoreError> {
        self.run(|connection| {
            let names = "SELECT name AS value FROM sqlite_master \
                WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name";
            let names: Vec<Words> = diesel::sql_query(names).load(connection).map_err(store_error)?;
            let names = names.into_iter().map(|row| row.value);
            names
                .filter(|name| !NOT_COPIED.contains(&name.as_str()))
                .map(|name| table_of(connection, name))
                .collect()
        })
        .await
    }

    async fn rows(&mut self, table: &Table, into: mpsc::Sender<Row>) -> Result<(), StoreError> {
        let table = table.clone();
        self.run(move |connection| send_rows(connection, &table, &into)).await
    }

    async fn insert(&mut self, table: &Table, rows: &[Row]) -> Result<(), StoreError> {
        let columns = list(table.columns.iter().map(|column| quoted(&column.name)));
        let values = list((0..table.columns.len()).map(|place| format!("value ->> {place}")));
        let statement =
            format!("INSERT INTO {} ({columns}) SELECT {values} FROM json_each(?)", quoted(&table.name));
        let rows = rows_json(rows);
        self.run(move |connection| {
            let inserted = diesel::sql_query(statement).bind::<Text, _>(rows).execute(connection);
            inserted.map(drop).map_err(store_error)
        })
        .await
    }

    async fn last_number(&mut self, table: &Table) -> Result<Option<i64>, StoreError> {
        let [key] = table.key.as_slice() else { return Ok(None) };
        let numbered =
            table.columns.iter().any(|column| column.name == *key && column.kind == ColumnKind::Whole);
        if !numbered {
            return Ok(None);
        }
        self.number(&format!("SELECT MAX({}) AS value FROM {}", quoted(key), quoted(&table.name))).await
    }

    async fn continue_after(&mut self, _table: &Table, _last: i64) -> Result<(), StoreError> {
        // SQLite gives a row the number after the greatest one.
        Ok(())
    }

    async fn end_and_compare(&mut self) -> Result<bool, StoreError> {
        self.connection.batch_execute("COMMIT").await.map_err(store_error)?;
        Ok(self.read_version().await? != self.version)
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        self.connection.batch_execute("COMMIT; PRAGMA wal_checkpoint(TRUNCATE);").await.map_err(store_error)
    }
}
