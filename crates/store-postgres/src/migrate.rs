//! Bringing tables up to date.

use diesel::dsl::sql;
use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tracing::info;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// The advisory lock held while a program changes the tables: "tithe" in ASCII.
const LOCK: i64 = 0x74_69_74_68_65;

/// An error of the database or of a migration.
pub(crate) struct MigrateError(pub(crate) Box<dyn std::error::Error + Send + Sync>);

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for MigrateError {
    fn from(cause: E) -> Self {
        Self(cause.into())
    }
}

/// Runs the missing migrations and returns their number. The lock is released with the connection, even after a crash.
pub(crate) async fn run(mut connection: AsyncPgConnection) -> Result<usize, MigrateError> {
    // Servers start more often than the schema changes, and then need no permission to change it.
    if missing(&mut connection).await? == 0 {
        return Ok(0);
    }
    info!("migrating the tables; waiting for other migrations to finish");
    connection.batch_execute(&format!("SELECT pg_advisory_lock({LOCK})")).await?;
    let migrated = on_blocking_thread(connection, |harness| {
        let done = harness.run_pending_migrations(MIGRATIONS)?;
        Ok(done.into_iter().map(|version| version.to_string()).collect::<Vec<_>>())
    });
    let done = migrated.await?;
    for version in &done {
        info!(version, "tables migrated");
    }
    Ok(done.len())
}

/// All migrations.
fn known() -> Result<Vec<String>, MigrateError> {
    let steps = MigrationSource::<Pg>::migrations(&MIGRATIONS)?;
    Ok(steps.iter().map(|step| step.name().version().to_string()).collect())
}

/// The latest migration.
pub(crate) fn version() -> String {
    known().unwrap_or_default().into_iter().max().unwrap_or_default()
}

/// The number of missing migrations. Changes nothing.
pub(crate) async fn pending(mut connection: AsyncPgConnection) -> Result<usize, MigrateError> {
    missing(&mut connection).await
}

async fn missing(connection: &mut AsyncPgConnection) -> Result<usize, MigrateError> {
    let known = known()?;
    let remembers: bool =
        diesel::select(sql::<Bool>("to_regclass('__diesel_schema_migrations') IS NOT NULL"))
            .get_result(connection)
            .await?;
    if !remembers {
        return Ok(known.len());
    }
    let applied: Vec<String> = __diesel_schema_migrations::table
        .select(__diesel_schema_migrations::version)
        .load(connection)
        .await?;
    Ok(known.iter().filter(|step| !applied.contains(step)).count())
}

diesel::table! {
    __diesel_schema_migrations (version) {
        version -> Text,
        run_on -> Timestamp,
    }
}

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Migrations are synchronous code on an asynchronous connection, so they run on a thread that may block.
async fn on_blocking_thread<T: Send + 'static>(
    connection: AsyncPgConnection,
    work: impl FnOnce(&mut AsyncMigrationHarness<AsyncPgConnection>) -> Outcome<T> + Send + 'static,
) -> Result<T, MigrateError> {
    let working = tokio::task::spawn_blocking(move || work(&mut AsyncMigrationHarness::new(connection)));
    Ok(working.await??)
}
