//! The tables of a PostgreSQL database, for copying all of them.

use crate::connector::Connector;
use crate::failure::Failure;
use crate::open_error::OpenError;
use crate::settings::PostgresSettings;
use crate::timelines::Timelines;
use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::TryStreamExt;
use std::collections::BTreeSet;
use std::time::Duration;
use tithe_engine::store::StoreError;
use tithe_store_sql::copy::{Column, ColumnKind, NOT_COPIED, Row, Table, Tables, rows_json};
use tokio::sync::mpsc;

/// How often, and how many times, to look whether the servers that use the database are gone: one that has just ended may still be listed.
const LOOK_AGAIN: (Duration, u32) = (Duration::from_millis(100), 20);

/// What grows with every batch that a server commits.
const PROGRESS: &str = "SELECT COALESCE((SELECT SUM(batch) FROM committers), 0)::text || '/' || \
    COALESCE((SELECT MAX(seq) FROM transfers), 0)::text AS value";

#[derive(QueryableByName)]
struct Words {
    #[diesel(sql_type = Text)]
    value: String,
}

#[derive(QueryableByName)]
struct MaybeWords {
    #[diesel(sql_type = Nullable<Text>)]
    value: Option<String>,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    value: i64,
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

/// The tables of a PostgreSQL database, in one transaction.
pub struct PostgresTables {
    at: String,
    connection: AsyncPgConnection,
    progress: String,
}

impl PostgresTables {
    /// The tables of a database that no server uses, of one moment, for reading only.
    ///
    /// # Errors
    /// [`OpenError`]: [`OpenError::InUse`] when other programs of this name are connected.
    pub async fn of_source(url: &str, settings: PostgresSettings) -> Result<Self, OpenError> {
        let (at, mut connection) = connect(url, settings).await?;
        let unreachable =
            |cause: diesel::result::Error| OpenError::Connect { at: at.clone(), cause: cause.into() };
        let (pause, mut looks) = LOOK_AGAIN;
        loop {
            let connections = others(&mut connection).await.map_err(unreachable)?;
            if connections == 0 {
                break;
            }
            looks -= 1;
            if looks == 0 {
                return Err(OpenError::InUse { at: at.clone(), connections });
            }
            tokio::time::sleep(pause).await;
        }
        Self::begin(at.clone(), connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .map_err(|cause| OpenError::Connect { at, cause: cause.into() })
    }

    /// The tables of a database, for writing.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn of_target(url: &str, settings: PostgresSettings) -> Result<Self, OpenError> {
        let (at, connection) = connect(url, settings).await?;
        Self::begin(at.clone(), connection, "BEGIN")
            .await
            .map_err(|cause| OpenError::Connect { at, cause: cause.into() })
    }

    async fn begin(at: String, mut connection: AsyncPgConnection, begin: &str) -> Result<Self, StoreError> {
        connection.batch_execute(begin).await.map_err(store_error)?;
        let progress = progress(&mut connection).await?;
        Ok(Self { at, connection, progress })
    }

    async fn table_of(&mut self, name: String) -> Result<Table, StoreError> {
        let columns = "SELECT attname::text AS name, format_type(atttypid, NULL) AS kind, \
                COALESCE(array_position(indkey::int2[], attnum) + 1, 0)::bigint AS place_in_key \
            FROM pg_attribute LEFT JOIN pg_index ON indrelid = attrelid AND indisprimary \
            WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attgenerated = '' \
            ORDER BY attname COLLATE \"C\"";
        let columns = diesel::sql_query(columns).bind::<Text, _>(quoted(&name));
        let columns: Vec<ColumnRow> = columns.load(&mut self.connection).await.map_err(store_error)?;
        let referred = "SELECT DISTINCT relname::text AS value FROM pg_constraint \
            JOIN pg_class ON pg_class.oid = confrelid WHERE conrelid = to_regclass($1) AND contype = 'f'";
        let referred = diesel::sql_query(referred).bind::<Text, _>(quoted(&name));
        let referred: Vec<Words> = referred.load(&mut self.connection).await.map_err(store_error)?;
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

    /// The sequence that numbers the rows of a table.
    async fn sequence(&mut self, table: &Table) -> Result<Option<String>, StoreError> {
        let [key] = table.key.as_slice() else { return Ok(None) };
        let sequence = diesel::sql_query("SELECT pg_get_serial_sequence($1, $2) AS value")
            .bind::<Text, _>(quoted(&table.name))
            .bind::<Text, _>(key);
        let sequence: MaybeWords = sequence.get_result(&mut self.connection).await.map_err(store_error)?;
        Ok(sequence.value)
    }
}

async fn connect(url: &str, settings: PostgresSettings) -> Result<(String, AsyncPgConnection), OpenError> {
    // The databases of a copy are named by whoever copies, and are no server's own.
    let connector = Connector::new(url, settings, &Timelines::default())?;
    let connection = connector.patiently().await?;
    Ok((connector.at().to_owned(), connection))
}

/// How many other connections of programs with our name the database has.
async fn others(connection: &mut AsyncPgConnection) -> QueryResult<i64> {
    let others = "SELECT COUNT(*) AS value FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid() \
        AND application_name = current_setting('application_name')";
    let found: Number = diesel::sql_query(others).get_result(connection).await?;
    Ok(found.value)
}

async fn progress(connection: &mut AsyncPgConnection) -> Result<String, StoreError> {
    let progress: Words = diesel::sql_query(PROGRESS).get_result(connection).await.map_err(store_error)?;
    Ok(progress.value)
}

fn store_error(cause: diesel::result::Error) -> StoreError {
    Failure::from(cause).into()
}

/// A name as statements quote it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn list(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// A column's value as every database writes it.
fn read(column: &Column) -> String {
    match column.kind {
        ColumnKind::Flag => format!("{}::int", quoted(&column.name)),
        ColumnKind::Whole | ColumnKind::Text => quoted(&column.name),
    }
}

/// A column's value, from its place in the JSON array `item`.
fn written((place, column): (usize, &Column)) -> String {
    let kind = match column.kind {
        ColumnKind::Whole => "::bigint",
        ColumnKind::Flag => "::int::boolean",
        ColumnKind::Text => "",
    };
    format!("(item ->> {place}){kind}")
}

#[async_trait]
impl Tables for PostgresTables {
    fn at(&self) -> &str {
        &self.at
    }

    async fn tables(&mut self) -> Result<Vec<Table>, StoreError> {
        let names = "SELECT relname::text AS value FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace \
            WHERE relkind IN ('r', 'p') AND nspname = current_schema() ORDER BY relname";
        let names: Vec<Words> =
            diesel::sql_query(names).load(&mut self.connection).await.map_err(store_error)?;
        let mut tables = Vec::new();
        for Words { value: name } in names {
            if !NOT_COPIED.contains(&name.as_str()) {
                tables.push(self.table_of(name).await?);
            }
        }
        Ok(tables)
    }

    async fn rows(&mut self, table: &Table, into: mpsc::Sender<Row>) -> Result<(), StoreError> {
        let columns = list(table.columns.iter().map(read));
        let is_text = |name: &String| {
            table.columns.iter().any(|column| column.name == *name && column.kind == ColumnKind::Text)
        };
        let by = |name: &String| quoted(name) + if is_text(name) { " COLLATE \"C\"" } else { "" };
        let key = list(table.key.iter().map(by));
        let statement = format!(
            "SELECT json_build_array({columns})::text AS value FROM {} ORDER BY {key}",
            quoted(&table.name)
        );
        let rows = diesel::sql_query(statement).load_stream::<Words>(&mut self.connection).await;
        let mut rows = rows.map_err(store_error)?;
        while let Some(row) = rows.try_next().await.map_err(store_error)? {
            if into.send(table.row(&row.value)?).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn insert(&mut self, table: &Table, rows: &[Row]) -> Result<(), StoreError> {
        let unstorable = |row: &&Row| {
            row.values().iter().any(|value| value.as_str().is_some_and(|text| text.contains('\0')))
        };
        if let Some(row) = rows.iter().find(unstorable) {
            let key: Vec<String> = table
                .columns
                .iter()
                .zip(row.values())
                .filter(|(column, _)| table.key.contains(&column.name))
                .map(|(_, value)| value.to_string())
                .collect();
            return Err(StoreError::Corrupt {
                subject: format!("{} {}", table.name, key.join(", ")),
                problem: "a text holds U+0000, which PostgreSQL cannot store".to_owned(),
            });
        }
        let columns = list(table.columns.iter().map(|column| quoted(&column.name)));
        let values = list(table.columns.iter().enumerate().map(written));
        let statement = format!(
            "INSERT INTO {} ({columns}) OVERRIDING SYSTEM VALUE \
             SELECT {values} FROM json_array_elements($1::json) AS given (item)",
            quoted(&table.name)
        );
        let inserting = diesel::sql_query(statement).bind::<Text, _>(rows_json(rows));
        inserting.execute(&mut self.connection).await.map(drop).map_err(store_error)
    }

    async fn last_number(&mut self, table: &Table) -> Result<Option<i64>, StoreError> {
        let Some(sequence) = self.sequence(table).await? else { return Ok(None) };
        let last = format!("SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS value FROM {sequence}");
        let last: Number =
            diesel::sql_query(last).get_result(&mut self.connection).await.map_err(store_error)?;
        Ok(Some(last.value))
    }

    async fn continue_after(&mut self, table: &Table, last: i64) -> Result<(), StoreError> {
        let Some(sequence) = self.sequence(table).await? else { return Ok(()) };
        let set = diesel::sql_query("SELECT setval($1::regclass, GREATEST($2, 1), $2 > 0) AS value")
            .bind::<Text, _>(sequence)
            .bind::<BigInt, _>(last);
        let _set: Number = set.get_result(&mut self.connection).await.map_err(store_error)?;
        Ok(())
    }

    async fn end_and_compare(&mut self) -> Result<bool, StoreError> {
        self.connection.batch_execute("COMMIT").await.map_err(store_error)?;
        let now = progress(&mut self.connection).await?;
        let others = others(&mut self.connection).await.map_err(store_error)?;
        Ok(now != self.progress || others > 0)
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        self.connection.batch_execute("COMMIT").await.map_err(store_error)?;
        // The planner knows nothing of rows that came at once.
        self.connection.batch_execute("ANALYZE").await.map_err(store_error)
    }
}
